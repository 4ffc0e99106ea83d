/** The tables of a ledger: what is listed in which order, what counts where, and that histories have no gap. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { submit } from "../../../src/tasks/ledger/rules.ts";
import { TASK_STATUSES, type TaskStatus } from "../../../src/tasks/ledger/task-state.ts";
import type { TaskRow } from "../../../src/tasks/ledger/schema.ts";
import { TaskTable } from "../../../src/tasks/ledger/task-table.ts";
import { byAge, type Page } from "../../../src/tasks/ledger/task-queries.ts";
import { inLedger, newLedgerName, T0, useClock } from "../../support/ledgers.ts";

useClock();

const FIRST = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "" };
const PAGE: Page = { statuses: [], type: undefined, fromMs: 0, before: FIRST, limit: 100 };

/** Does something with a table of its own; `changedIds` are those of whom it has said that something happened. */
const withTable = async (action: (table: TaskTable, changedIds: string[], sql: SqlStorage) => void) =>
  inLedger(newLedgerName(), ({ storage }) => {
    const changedIds: string[] = [];
    action(new TaskTable(storage.sql, (taskId) => changedIds.push(taskId)), changedIds, storage.sql);
  });

function insert(
  table: TaskTable,
  id: string,
  { type = "t", atMs = T0, priority = 0, runAtMs = 0, input = "1" } = {},
) {
  const change = submit(priority, runAtMs, null, atMs);
  return table.insert({ id, type, input, callbackUrl: null }, change, atMs);
}

const found = (table: TaskTable, id: string): TaskRow =>
  table.getLean(id) ?? expect.fail(`there is no task ${id}`);
const event = { name: "status", data: {} } as const;
const become = (table: TaskTable, id: string, status: TaskStatus) =>
  table.save({ task: { ...found(table, id), status, due_at_ms: T0 }, event }, T0);

test("a task is entered once; of the second with its id nothing is kept", async () => {
  await withTable((table, _told, sql) => {
    expect([insert(table, "a"), insert(table, "a", { input: "2" })]).toEqual([true, false]);
    expect(table.get("a")).toMatchObject({ input: "1", events: 1, created_at_ms: T0 });
    expect(table.events("a", 0, 9)).toHaveLength(1);
    // Nobody waits for the write of a second row.
    expect(sql.exec("SELECT * FROM event").toArray()).toEqual([]);
  });
});

test("only reading a whole task gives what may be long", async () => {
  await withTable((table) => {
    insert(table, "a", { input: '"long"' });
    table.save({ task: { ...found(table, "a"), status: "succeeded", due_at_ms: T0, result: "2" }, event }, T0);
    expect(table.get("a")).toMatchObject({ input: '"long"', result: "2" });
    for (const row of [found(table, "a"), ...table.list(PAGE), ...table.due(T0, 9)])
      expect(row).toMatchObject({ id: "a", input: "", result: null });
  });
});

const shape = fc.record({
  atMs: fc.integer({ min: T0, max: T0 + 3 }),
  type: fc.constantFrom("t", "u"),
  status: fc.constantFrom(...TASK_STATUSES),
});

test("pages hold every task that is asked for, once, newest first, also of the same millisecond", async () => {
  const wanted = fc.record({
    statuses: fc.uniqueArray(fc.constantFrom(...TASK_STATUSES), { maxLength: 3 }),
    type: fc.constantFrom("t", "gone", undefined, undefined),
    fromMs: fc.constantFrom(0, T0 + 1),
    limit: fc.integer({ min: 1, max: 5 }),
  });
  await withTable((table, _told, sql) => {
    const property = fc.property(fc.array(shape, { maxLength: 20 }), wanted, (shapes, page) => {
      for (const table of ["task", "event"]) sql.exec(`DELETE FROM ${table}`);
      for (const [n, one] of shapes.entries()) {
        insert(table, `t${(n * 7) % 20}`, one);
        become(table, `t${(n * 7) % 20}`, one.status);
      }
      const all = sql.exec<TaskRow>("SELECT * FROM task").toArray();
      const expected = all
        .filter(({ status }) => page.statuses.length === 0 || page.statuses.includes(status))
        .filter(({ type, created_at_ms }) => type === (page.type ?? type) && created_at_ms >= page.fromMs)
        .toSorted((a, b) => b.created_at_ms - a.created_at_ms || (a.id < b.id ? 1 : -1));
      const listed: TaskRow[] = [];
      for (let rows = table.list({ ...page, before: FIRST }); rows.length > 0; ) {
        expect(rows.length).toBeLessThanOrEqual(page.limit);
        listed.push(...rows);
        const last = rows.at(-1) ?? expect.fail();
        rows = table.list({ ...page, before: { createdAtMs: last.created_at_ms, id: last.id } });
      }
      expect(listed.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
      expect(listed.toSorted(byAge)).toEqual(listed);
    });
    fc.assert(property, { numRuns: 150 });
  });
});

test("a page before a time has nothing of that millisecond", async () => {
  await withTable((table) => {
    insert(table, "a", { atMs: T0 });
    insert(table, "b", { atMs: T0 + 1 });
    const before = (createdAtMs: number) =>
      table.list({ ...PAGE, before: { createdAtMs, id: "" } }).map(({ id }) => id);
    expect([before(T0), before(T0 + 1), before(T0 + 2)]).toEqual([[], ["a"], ["b", "a"]]);
  });
});

test("each type has a line, in the order of rank and then of id", async () => {
  await withTable((table) => {
    insert(table, "late", { atMs: T0 + 1 });
    insert(table, "y");
    insert(table, "x");
    insert(table, "urgent", { type: "u", atMs: T0 + 2, priority: 1 });
    insert(table, "later", { type: "v", runAtMs: T0 + 1 });
    const line = (type: string) => table.line(type, 2).map(({ id }) => id);
    expect([table.waitingTypes(), line("t"), line("u")]).toEqual([["t", "u"], ["x", "y"], ["urgent"]]);
    become(table, "x", "running");
    expect([line("t"), line("v"), table.isWaiting()]).toEqual([["y", "late"], [], true]);
  });
});

test("what is due is given the most overdue first, and so is when to look again", async () => {
  await withTable((table) => {
    expect(table.nextDueAtMs()).toBeNull();
    for (const [id, ms] of [
      ["c", 3],
      ["a", 1],
      ["b", 2],
    ] as const)
      insert(table, id, { runAtMs: T0 + ms });
    insert(table, "queued");
    expect(table.nextDueAtMs()).toBe(T0 + 1);
    expect(table.due(T0 + 2, 9).map(({ id }) => id)).toEqual(["a", "b"]);
    expect(table.due(T0 + 9, 1).map(({ id }) => id)).toEqual(["a"]);
  });
});

test("what runs, or is being cancelled, counts against the cap of its type", async () => {
  await withTable((table) => {
    for (const [n, status] of TASK_STATUSES.entries()) {
      insert(table, `t${n}`);
      become(table, `t${n}`, status);
    }
    insert(table, "other", { type: "u" });
    become(table, "other", "running");
    expect([table.countRunning("t"), table.countRunning("u"), table.countRunning("v")]).toEqual([2, 1, 0]);
  });
});

test("whatever happens to a task is in its history, numbered from 1, and changedIds to those who watch it", async () => {
  await withTable((table, changedIds, sql) => {
    insert(table, "a");
    table.recordProgress(found(table, "a"), 0.25, "begun", T0 + 1);
    table.recordStep(found(table, "a"), "one", "1", T0 + 2);
    table.recordStep(found(table, "a"), "one", "2", T0 + 3);
    table.save({ task: found(table, "a"), event }, T0 + 4);
    expect(table.events("a", 0, 9).map(({ number, name, at_ms }) => [number, name, at_ms - T0])).toEqual([
      [1, "status", 0],
      [2, "progress", 1],
      [3, "step", 2],
      [4, "status", 4],
    ]);
    expect(table.events("a", 0, 1)).toEqual([
      { task_id: "a", number: 1, at_ms: T0, name: "status", data: '{"status":"queued","attempt":0}' },
    ]);
    expect(table.events("a", 0, 2).map(({ number }) => number)).toEqual([1, 2]);
    expect(table.events("a", 1, 2).map(({ number }) => number)).toEqual([2, 3]);
    expect([table.events("a", 4, 9), table.events("b", 0, 9)]).toEqual([[], []]);
    expect(table.steps("a")).toEqual({ one: "1" });
    expect(found(table, "a")).toMatchObject({ progress_ratio: 0.25, events: 4 });
    // Of the first event nobody is changedIds: there was nothing yet to watch.
    expect(changedIds).toEqual(["a", "a", "a"]);
    table.remove("a");
    for (const table of ["task", "event", "step"])
      expect(sql.exec(`SELECT 1 FROM ${table}`).toArray()).toEqual([]);
    expect(table.events("a", 0, 9)).toEqual([]);
    expect(changedIds).toHaveLength(4);
  });
});

test("a change that cannot be changedIds is not made", async () => {
  await withTable((table, changedIds, sql) => {
    insert(table, "a");
    sql.exec("INSERT INTO event (task_id, number, at_ms, name, data) VALUES ('a', 2, 0, 'status', '{}')");
    const before = table.get("a");
    expect(() => become(table, "a", "succeeded")).toThrow("UNIQUE");
    expect([table.get("a"), changedIds]).toEqual([before, []]);
  });
});

test.each<[TaskStatus, Partial<TaskRow>]>([
  ["queued", { status: "scheduled", rank_ms: null }],
  ["scheduled", { status: "scheduled" }],
  ["running", { status: "running" }],
  ["cancelling", { status: "cancelling" }],
])(
  "a task that is set aside while it is %s is in nobody's way, and can be changedIds of again",
  async (status, kept) => {
    await withTable((table, _told, sql) => {
      insert(table, "a");
      insert(table, "b");
      if (status !== "queued") become(table, "a", status);
      table.recordProgress(found(table, "a"), 0.5, null, T0);
      const { events } = found(table, "a");
      sql.exec("UPDATE task SET events = 1 WHERE id = 'a'");
      table.setAside("a", T0 + 60_000);
      expect(table.get("a")).toMatchObject({ ...kept, events, due_at_ms: T0 + 60_000 });
      expect(table.line("t", 9).map(({ id }) => id)).toEqual(["b"]);
      expect(table.due(T0 + 59_999, 9)).toEqual([]);
      expect(found(table, "b")).toMatchObject({ status: "queued", due_at_ms: null, events: 1 });
      become(table, "a", "running");
      expect(table.events("a", 0, 9).map(({ number }) => number)).toEqual(
        Array.from({ length: events + 1 }, (_, n) => n + 1),
      );
    });
  },
);

test.each([
  ["stays, if there is more of that", T0 + 60_001, T0 + 60_001],
  ["is as long as it is set aside, if there is less", T0 + 1, T0 + 60_000],
])("what is kept of a task that has ended, and is set aside, %s", async (_, dueAtMs, keptUntilMs) => {
  await withTable((table, _told, sql) => {
    insert(table, "a");
    become(table, "a", "failed");
    sql.exec("UPDATE task SET due_at_ms = ?, finished_at_ms = ?", dueAtMs, T0);
    table.setAside("a", T0 + 60_000);
    expect(table.get("a")).toMatchObject({ status: "failed", due_at_ms: keptUntilMs, finished_at_ms: T0 });
  });
});

test("what waits or runs is due by itself, and what has ended has expired by itself", async () => {
  await withTable((table, _told, sql) => {
    for (const id of ["waits", "ended"]) insert(table, id, { runAtMs: T0 + 5 });
    sql.exec(
      "UPDATE task SET status = 'failed', finished_at_ms = ?, due_at_ms = ? WHERE id = 'ended'",
      T0,
      T0 + 3,
    );
    const ids = (rows: TaskRow[]) => rows.map(({ id }) => id);
    expect([table.nextDueAtMs(), ids(table.due(T0 + 4, 9)), ids(table.expired(T0 + 4, 9))]).toEqual([
      T0 + 3,
      [],
      ["ended"],
    ]);
    expect(ids(table.expired(T0 + 2, 9))).toEqual([]);
    table.remove("ended");
    expect([table.nextDueAtMs(), ids(table.due(T0 + 5, 9)), ids(table.expired(T0 + 9, 9))]).toEqual([
      T0 + 5,
      ["waits"],
      [],
    ]);
  });
});

test("after 10,000 events, progress is kept and changedIds no more; what ends the task still is", async () => {
  await withTable((table, _told, sql) => {
    insert(table, "a");
    sql.exec("UPDATE task SET events = 9999");
    for (const ratio of [0.5, 0.75]) table.recordProgress(found(table, "a"), ratio, null, T0);
    expect(found(table, "a")).toMatchObject({ events: 10_000, progress_ratio: 0.75 });
    become(table, "a", "succeeded");
    expect(table.events("a", 9_999, 9).map(({ number }) => number)).toEqual([10_000, 10_001]);
  });
});
