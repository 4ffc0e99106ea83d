/** Which tasks a ledger finds: pages of a list, queues, due tasks and counts. */
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import type { TaskRow } from "../../../src/tasks/ledger/schema.ts";
import { byAge, type Page } from "../../../src/tasks/ledger/task-queries.ts";
import { FINAL_STATUSES, TASK_STATUSES, type TaskStatus } from "../../../src/tasks/ledger/task-state.ts";
import {
  insert,
  leanRow,
  STATUS_EVENT,
  setStatus,
  type Tables,
  withTables,
} from "../../support/ledger-tables.ts";
import { T0, useClock } from "../../support/ledgers.ts";

useClock();

const FIRST = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "" };
const PAGE: Page = { statuses: [], type: undefined, fromMs: 0, before: FIRST, limit: 100 };

/** Ends a task, as the rules would. */
function end(
  { sql }: Tables,
  id: string,
  { status, finishedAtMs }: ReturnType<typeof ended>,
  busyUntilMs = 0,
): void {
  const query = "UPDATE task SET status = ?, finished_at_ms = ?, busy_until_ms = ?, lane = NULL WHERE id = ?";
  sql.exec(query, status, finishedAtMs, busyUntilMs, id);
}

const idsOf = (rows: TaskRow[]) => rows.map(({ id }) => id);

test("no query returns the input or the result, which may be long", async () => {
  await withTables(({ tasks, queries }) => {
    insert({ tasks }, "a", { input: '"long"' });
    const task = { ...leanRow({ tasks }, "a"), status: "succeeded", due_at_ms: T0, result: "2" } as const;
    tasks.save({ task, event: STATUS_EVENT }, T0);
    expect(tasks.get("a")).toMatchObject({ input: '"long"', result: "2" });
    for (const row of [leanRow({ tasks }, "a"), ...queries.list(PAGE), ...queries.due(T0, 9)])
      expect(row).toMatchObject({ id: "a", input: "", result: null });
  });
});

const shape = fc.record({
  atMs: fc.integer({ min: T0, max: T0 + 3 }),
  type: fc.constantFrom("t", "u"),
  status: fc.constantFrom(...TASK_STATUSES),
});

test("pages hold every matching task once, newest first, even within one millisecond", async () => {
  const wanted = fc.record({
    statuses: fc.uniqueArray(fc.constantFrom(...TASK_STATUSES), { maxLength: 3 }),
    type: fc.constantFrom("t", "gone", undefined, undefined),
    fromMs: fc.constantFrom(0, T0 + 1),
    limit: fc.integer({ min: 1, max: 5 }),
  });
  await withTables((tables) => {
    const { queries, sql } = tables;
    const property = fc.property(fc.array(shape, { maxLength: 20 }), wanted, (shapes, page) => {
      for (const table of ["task", "event"]) sql.exec(`DELETE FROM ${table}`);
      for (const [n, { status, ...options }] of shapes.entries()) {
        insert(tables, `t${(n * 7) % 20}`, options);
        setStatus(tables, `t${(n * 7) % 20}`, status);
      }
      const all = sql.exec<TaskRow>("SELECT * FROM task").toArray();
      const expected = all
        .filter(({ status }) => page.statuses.length === 0 || page.statuses.includes(status))
        .filter(({ type, created_at_ms }) => type === (page.type ?? type) && created_at_ms >= page.fromMs)
        .toSorted((a, b) => b.created_at_ms - a.created_at_ms || (a.id < b.id ? 1 : -1));
      const listed: TaskRow[] = [];
      for (let rows = queries.list({ ...page, before: FIRST }); rows.length > 0; ) {
        expect(rows.length).toBeLessThanOrEqual(page.limit);
        listed.push(...rows);
        const last = rows.at(-1) ?? expect.fail();
        rows = queries.list({ ...page, before: { createdAtMs: last.created_at_ms, id: last.id } });
      }
      expect(idsOf(listed)).toEqual(idsOf(expected));
      expect(listed.toSorted(byAge)).toEqual(listed);
    });
    fc.assert(property, { numRuns: 150 });
  });
});

test("a walk through ended tasks finds each that ended in time once, of one type or of all", async () => {
  const wanted = fc.record({
    status: fc.constantFrom(...FINAL_STATUSES),
    type: fc.constantFrom("t", "gone", undefined, undefined),
    beforeMs: fc.constantFrom(T0, T0 + 4, T0 + 9, T0 + 120_002, T0 + 200_000),
    limit: fc.integer({ min: 1, max: 5 }),
  });
  await withTables((tables) => {
    const { queries, sql } = tables;
    const property = fc.property(fc.array(shape, { maxLength: 20 }), wanted, (shapes, query) => {
      for (const table of ["task", "event"]) sql.exec(`DELETE FROM ${table}`);
      for (const [n, { status, ...options }] of shapes.entries()) {
        insert(tables, `t${(n * 7) % 20}`, options);
        setStatus(tables, `t${(n * 7) % 20}`, status);
      }
      // As if each had taken two milliseconds, or two minutes.
      sql.exec("UPDATE task SET finished_at_ms = created_at_ms + iif(substr(id, 2) % 3, 2, 120000)");
      const expected = sql
        .exec<TaskRow>("SELECT * FROM task")
        .toArray()
        .filter(({ status, type }) => status === query.status && type === (query.type ?? type))
        .filter(({ finished_at_ms }) => Number(finished_at_ms) < query.beforeMs);
      const found: string[] = [];
      for (let piece = queries.ended(query); ; piece = queries.ended({ ...query, after: piece.next })) {
        expect(piece.ids.length).toBeLessThanOrEqual(query.limit);
        found.push(...piece.ids);
        if (piece.next === null) break;
      }
      expect(found.toSorted()).toEqual(idsOf(expected).toSorted());
    });
    fc.assert(property, { numRuns: 150 });
  });
});

test("a page before a time has no task of that millisecond", async () => {
  await withTables((tables) => {
    insert(tables, "a", { atMs: T0 });
    insert(tables, "b", { atMs: T0 + 1 });
    const before = (createdAtMs: number) =>
      idsOf(tables.queries.list({ ...PAGE, before: { createdAtMs, id: "" } }));
    expect([before(T0), before(T0 + 1), before(T0 + 2)]).toEqual([[], ["a"], ["b", "a"]]);
  });
});

test("each pool of a type has a queue, ordered by rank and then by id", async () => {
  await withTables((tables) => {
    const { queries } = tables;
    insert(tables, "late", { atMs: T0 + 1 });
    insert(tables, "y");
    insert(tables, "x");
    insert(tables, "again", { pool: "begun" });
    insert(tables, "urgent", { type: "u", atMs: T0 + 2, priority: 1 });
    insert(tables, "later", { type: "v", runAtMs: T0 + 1 });
    const queue = (type: string) => idsOf(queries.queued(type, "new", 2));
    expect(idsOf(queries.queued("t", "begun", 2))).toEqual(["again"]);
    expect([queries.queuedTypes(), queue("t"), queue("u")]).toEqual([["t", "u"], ["x", "y"], ["urgent"]]);
    setStatus(tables, "x", "running");
    expect([queue("t"), queue("v"), queries.queuedTypes().length > 0]).toEqual([["y", "late"], [], true]);
  });
});

test("due tasks are returned most overdue first, and so is the next due time", async () => {
  await withTables((tables) => {
    const { queries } = tables;
    expect(queries.nextDueAtMs()).toBeNull();
    for (const [id, ms] of [
      ["c", 3],
      ["a", 1],
      ["b", 2],
    ] as const)
      insert(tables, id, { runAtMs: T0 + ms });
    insert(tables, "queued");
    expect(queries.nextDueAtMs()).toBe(T0 + 1);
    expect(idsOf(queries.due(T0 + 2, 9))).toEqual(["a", "b"]);
    expect(idsOf(queries.due(T0 + 9, 1))).toEqual(["a"]);
  });
});

const KEPT_MS = { succeeded: 100, failed: 200_000, cancelled: 300 };
const ended = (status: TaskStatus, finishedAtMs: number) => ({ status, finishedAtMs });

test("active tasks are due and ended tasks are expired; neither query returns the other's", async () => {
  await withTables((tables) => {
    const { queries, tasks } = tables;
    for (const id of ["waits", "ended"]) insert(tables, id, { runAtMs: T0 + 5 });
    end(tables, "ended", ended("cancelled", T0 + 1));
    const found = (nowMs: number) => [
      idsOf(queries.due(nowMs, 9)),
      idsOf(queries.expired(nowMs, KEPT_MS, 9)),
    ];
    expect([queries.nextDueAtMs(), found(T0 + 4), found(T0 + 301)]).toEqual([
      T0 + 5,
      [[], []],
      [["waits"], ["ended"]],
    ]);
    expect(found(T0 + 300)).toEqual([["waits"], []]);
    tasks.remove("ended");
    expect(found(T0 + 301)).toEqual([["waits"], []]);
  });
});

test("a claim in the fast lane is due with its lease, among the others that are due", async () => {
  await withTables((tables) => {
    const { queries, sql } = tables;
    for (const [id, type] of [
      ["a", "t"],
      ["b", "u"],
    ] as const)
      insert(tables, id, { type, lane: "fast" });
    insert(tables, "c", { runAtMs: T0 + 2 });
    sql.exec("UPDATE task SET due_at_ms = ? WHERE id = 'a'", T0 + 3);
    sql.exec("UPDATE task SET due_at_ms = ? WHERE id = 'b'", T0 + 1);
    expect([queries.nextDueAtMs(), idsOf(queries.due(T0 + 3, 9)), idsOf(queries.due(T0 + 3, 2))]).toEqual([
      T0 + 1,
      ["b", "c", "a"],
      ["b", "c"],
    ]);
    expect(idsOf(queries.due(T0 + 2, 9))).toEqual(["b", "c"]);
  });
});

test("exactly the tasks that have been kept long enough are expired, however long after their creation they ended", async () => {
  const task = fc.record({
    atMs: fc.integer({ min: T0, max: T0 + 200 }),
    type: fc.constantFrom("t", "u"),
    status: fc.constantFrom(...FINAL_STATUSES),
    tookMs: fc.constantFrom(0, 1, 150, 60_000, 60_001, 90_000),
    busyUntilMs: fc.constantFrom(0, 0, T0 + 90_100),
  });
  await withTables((tables) => {
    const { queries, sql } = tables;
    const property = fc.property(
      fc.array(task, { maxLength: 20 }),
      fc.nat(300_000),
      fc.integer({ min: 1, max: 25 }),
      (shapes, ms, limit) => {
        sql.exec("DELETE FROM task");
        const nowMs = T0 + ms;
        const expected = new Set<string>();
        for (const [n, { status, tookMs, busyUntilMs, ...options }] of shapes.entries()) {
          insert(tables, `t${n}`, options);
          end(tables, `t${n}`, ended(status, options.atMs + tookMs), busyUntilMs);
          if (Math.max(options.atMs + tookMs + KEPT_MS[status], busyUntilMs) <= nowMs) expected.add(`t${n}`);
        }
        const found = idsOf(queries.expired(nowMs, KEPT_MS, limit));
        expect(found.filter((id) => !expected.has(id))).toEqual([]);
        expect(new Set(found).size).toBe(Math.min(limit, expected.size));
      },
    );
    fc.assert(property, { numRuns: 150 });
  });
});

test("the cost of a query does not grow with the tasks that it does not return", async () => {
  await withTables((tables) => {
    const { queries, sql } = tables;
    const fill = (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        insert(tables, `kept${n}`, { atMs: T0 + n });
        end(tables, `kept${n}`, ended("succeeded", T0 + n + (n % 5) * 50_000));
        insert(tables, `waits${n}`, { type: "w", runAtMs: T0 + 9e9 + n });
      }
    };
    const readBy = (action: () => unknown): number => {
      const exec = vi.spyOn(Object.getPrototypeOf(sql) as SqlStorage, "exec");
      action();
      const read = exec.mock.results.map(({ value }) => (value as SqlStorageCursor<never>).rowsRead);
      exec.mockRestore();
      return read.reduce((sum, rows) => sum + rows, 0);
    };
    const reads = () =>
      [
        () => queries.expired(T0, KEPT_MS, 9),
        () => queries.due(T0, 9),
        () => queries.nextDueAtMs(),
        () => queries.list({ ...PAGE, limit: 9 }),
        () => queries.list({ ...PAGE, statuses: ["running", "failed"], limit: 9 }),
        () => queries.countRunning("t"),
        () => queries.deadLetters("t", T0 * 2, 9),
      ].map(readBy);
    fill(0, 50);
    insert(tables, "fast", { lane: "fast" });
    const before = reads();
    fill(50, 500);
    expect(reads()).toEqual(before);
  });
});

test("running and cancelling tasks count against the concurrency of their type", async () => {
  await withTables((tables) => {
    const { queries } = tables;
    for (const [n, status] of TASK_STATUSES.entries()) {
      insert(tables, `t${n}`);
      setStatus(tables, `t${n}`, status);
    }
    insert(tables, "other", { type: "u" });
    setStatus(tables, "other", "running");
    expect([queries.countRunning("t"), queries.countRunning("u"), queries.countRunning("v")]).toEqual([
      2, 1, 0,
    ]);
  });
});
