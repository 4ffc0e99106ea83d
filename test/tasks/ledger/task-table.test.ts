/** The tables of a ledger: each task is inserted once, and its history has no gap. */
import { expect, test } from "vitest";
import type { TaskRow } from "../../../src/tasks/ledger/schema.ts";
import type { TaskStatus } from "../../../src/tasks/ledger/task-state.ts";
import { insert, leanRow, STATUS_EVENT, setStatus, withTables } from "../../support/ledger-tables.ts";
import { T0, useClock } from "../../support/ledgers.ts";

useClock();

const idsOf = (rows: TaskRow[]) => rows.map(({ id }) => id);

test("a task is inserted once; a second task with its id changes nothing", async () => {
  await withTables((tables) => {
    const { tasks, sql } = tables;
    expect([insert(tables, "a"), insert(tables, "a", { input: "2" })]).toEqual([true, false]);
    expect(tasks.get("a")).toMatchObject({ input: "1", events: 1, created_at_ms: T0 });
    expect(tasks.events("a", 0, 9)).toHaveLength(1);
    // The first event is in the task's own row: no caller waits for the write of a second row.
    expect(sql.exec("SELECT * FROM event").toArray()).toEqual([]);
  });
});

test("every change of a task is in its history, numbered from 1, and wakes its watchers", async () => {
  await withTables((tables) => {
    const { tasks, sql, changedIds } = tables;
    insert(tables, "a");
    tasks.recordProgress(leanRow(tables, "a"), 0.25, "begun", T0 + 1);
    tasks.recordStep(leanRow(tables, "a"), "one", "1", T0 + 2);
    tasks.recordStep(leanRow(tables, "a"), "one", "2", T0 + 3);
    tasks.save({ task: leanRow(tables, "a"), event: STATUS_EVENT }, T0 + 4);
    expect(tasks.events("a", 0, 9).map(({ number, name, at_ms }) => [number, name, at_ms - T0])).toEqual([
      [1, "status", 0],
      [2, "progress", 1],
      [3, "step", 2],
      [4, "status", 4],
    ]);
    expect(tasks.events("a", 0, 1)).toEqual([
      { task_id: "a", number: 1, at_ms: T0, name: "status", data: '{"status":"queued","attempt":0}' },
    ]);
    expect(tasks.events("a", 0, 2).map(({ number }) => number)).toEqual([1, 2]);
    expect(tasks.events("a", 1, 2).map(({ number }) => number)).toEqual([2, 3]);
    expect([tasks.events("a", 4, 9), tasks.events("b", 0, 9)]).toEqual([[], []]);
    expect(tasks.steps("a")).toEqual({ one: "1" });
    expect(leanRow(tables, "a")).toMatchObject({ progress_ratio: 0.25, events: 4 });
    // The first is that the task is there: some watch all tasks.
    expect(changedIds).toEqual(["a", "a", "a", "a"]);
    tasks.remove("a");
    for (const table of ["task", "event", "step"])
      expect(sql.exec(`SELECT 1 FROM ${table}`).toArray()).toEqual([]);
    expect(tasks.events("a", 0, 9)).toEqual([]);
    expect(changedIds).toHaveLength(5);
  });
});

test("a change whose event cannot be written is not made", async () => {
  await withTables((tables) => {
    const { tasks, sql, changedIds } = tables;
    insert(tables, "a");
    sql.exec("INSERT INTO event (task_id, number, at_ms, name, data) VALUES ('a', 2, 0, 'status', '{}')");
    const before = tasks.get("a");
    expect(() => setStatus(tables, "a", "running")).toThrow("UNIQUE");
    expect([tasks.get("a"), changedIds]).toEqual([before, ["a"]]);
  });
});

test.each<[TaskStatus, Partial<TaskRow>]>([
  ["queued", { status: "scheduled", rank_ms: null }],
  ["scheduled", { status: "scheduled" }],
  ["running", { status: "running" }],
  ["cancelling", { status: "cancelling" }],
])("a task that is set aside while %s blocks no other, and can have further events", async (status, kept) => {
  await withTables((tables) => {
    const { tasks, queries, sql } = tables;
    insert(tables, "a");
    insert(tables, "b");
    if (status !== "queued") setStatus(tables, "a", status);
    tasks.recordProgress(leanRow(tables, "a"), 0.5, null, T0);
    const { events } = leanRow(tables, "a");
    sql.exec("UPDATE task SET events = 1 WHERE id = 'a'");
    tasks.setAside("a", T0 + 60_000);
    expect(tasks.get("a")).toMatchObject({ ...kept, events, due_at_ms: T0 + 60_000 });
    expect(queries.queued("t", "new", 9).map(({ id }) => id)).toEqual(["b"]);
    expect(queries.due(T0 + 59_999, 9)).toEqual([]);
    expect(leanRow(tables, "b")).toMatchObject({ status: "queued", due_at_ms: null, events: 1 });
    setStatus(tables, "a", "running");
    expect(tasks.events("a", 0, 9).map(({ number }) => number)).toEqual(
      Array.from({ length: events + 1 }, (_, n) => n + 1),
    );
  });
});

test.each([
  ["its code may be at work, if that is longer", T0 + 60_001, T0 + 60_001],
  ["the pause lasts, if that is longer", 0, T0 + 60_000],
])("an ended task that is set aside is kept for as long as %s", async (_, busyUntilMs, keptUntilMs) => {
  await withTables((tables) => {
    insert(tables, "a");
    setStatus(tables, "a", "failed");
    tables.sql.exec("UPDATE task SET busy_until_ms = ?, finished_at_ms = ?", busyUntilMs, T0);
    tables.tasks.setAside("a", T0 + 60_000);
    expect(tables.tasks.get("a")).toMatchObject({ status: "failed", due_at_ms: T0, finished_at_ms: T0 });
    const expired = (nowMs: number) =>
      idsOf(tables.queries.expired(nowMs, { succeeded: 0, failed: 1, cancelled: 0 }, 9));
    expect([expired(keptUntilMs - 1), expired(keptUntilMs)]).toEqual([[], ["a"]]);
  });
});

test("the end of a task is in its own row, until the task is begun again: then it is an event like any other", async () => {
  await withTables((tables) => {
    const { tasks, sql, changedIds } = tables;
    insert(tables, "a");
    const error = { name: "Error", message: "no" };
    const ended = {
      status: "failed",
      attempt: 4,
      error: JSON.stringify(error),
      finished_at_ms: T0 + 5,
    } as const;
    tasks.save({ task: { ...leanRow(tables, "a"), ...ended }, event: STATUS_EVENT }, T0 + 5);
    const end = { task_id: "a", number: 2, at_ms: T0 + 5, name: "status" };
    const shown = { ...end, data: JSON.stringify({ status: "failed", attempt: 4, error }) };
    expect([tasks.lastEvent("a"), tasks.events("a", 1, 9), tasks.events("a", 2, 9)]).toEqual([
      shown,
      [shown],
      [],
    ]);
    expect([
      tasks.events("a", 0, 1).map(({ number }) => number),
      sql.exec("SELECT 1 FROM event").toArray(),
    ]).toEqual([[1], []]);
    expect(changedIds).toEqual(["a", "a"]);
    expect(tasks.reopen(leanRow(tables, "a"))).toBe(2);
    const again = { ...leanRow(tables, "a"), status: "queued", finished_at_ms: null, error: null } as const;
    tasks.save({ task: again, event: STATUS_EVENT }, T0 + 6);
    expect(tasks.events("a", 1, 9)).toEqual([shown, { ...end, number: 3, at_ms: T0 + 6, data: "{}" }]);
  });
});

test("an end that version 0.1.0 has stored as an event is shown once", async () => {
  await withTables((tables) => {
    const { tasks, sql } = tables;
    insert(tables, "a");
    setStatus(tables, "a", "succeeded");
    sql.exec("UPDATE task SET events = 2, finished_at_ms = ?", T0);
    const data = JSON.stringify({ status: "succeeded", attempt: 0 });
    sql.exec("INSERT INTO event (task_id, number, at_ms, name, data) VALUES ('a', 2, 7, 'status', ?)", data);
    const stored = { task_id: "a", number: 2, at_ms: 7, name: "status", data };
    expect([tasks.lastEvent("a"), tasks.events("a", 1, 9)]).toEqual([stored, [stored]]);
    expect(tasks.reopen(leanRow(tables, "a"))).toBe(2);
    expect(sql.exec("SELECT 1 FROM event").toArray()).toHaveLength(1);
  });
});

test("after 10,000 events, progress is stored but makes no event; a change of status still does", async () => {
  await withTables((tables) => {
    const { tasks, sql } = tables;
    insert(tables, "a");
    sql.exec("UPDATE task SET events = 9999");
    for (const ratio of [0.5, 0.75]) tasks.recordProgress(leanRow(tables, "a"), ratio, null, T0);
    expect(leanRow(tables, "a")).toMatchObject({ events: 10_000, progress_ratio: 0.75 });
    setStatus(tables, "a", "succeeded");
    expect(tasks.events("a", 9_999, 9).map(({ number }) => number)).toEqual([10_000, 10_001]);
  });
});
