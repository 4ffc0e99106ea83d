/** Searching a ledger: every match once, newest first, with a bounded number of tasks looked at in a call. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { submit } from "../../../src/tasks/ledger/rules.ts";
import type { TaskRow } from "../../../src/tasks/ledger/schema.ts";
import { ANY_TIME, matches, type TaskFilter } from "../../../src/tasks/ledger/task-filter.ts";
import { byAge } from "../../../src/tasks/ledger/task-queries.ts";
import { TaskSearch } from "../../../src/tasks/ledger/task-search.ts";
import { isFinal, TASK_STATUSES, type TaskStatus } from "../../../src/tasks/ledger/task-state.ts";
import { countTagged, countTags } from "../../../src/tasks/ledger/task-tags.ts";
import { type Tables, withTables } from "../../support/ledger-tables.ts";
import { T0, useClock } from "../../support/ledgers.ts";

useClock();

const ALL: TaskFilter = { statuses: [], created: ANY_TIME };
const FIRST = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "" };

interface Shape {
  type: string;
  status: TaskStatus;
  atMs: number;
  tookMs: number;
  tags: string[];
  error: string | null;
}

/** A task with the row that the rules would leave. */
function add({ tasks, sql }: Tables, id: string, { type, status, atMs, tookMs, tags, error }: Shape): void {
  const fields = { id, type, input: "1", callbackUrl: null };
  tasks.insert(
    { ...fields, ...(tags.length > 0 ? { tags: JSON.stringify(tags) } : {}), scheduleId: tags[0] ?? null },
    submit(0, 0, null, atMs),
    atMs,
  );
  const hasError = error !== null && status !== "succeeded";
  sql.exec(
    "UPDATE task SET status = ?, started_at_ms = ?, finished_at_ms = ?, error = ? WHERE id = ?",
    status,
    atMs,
    isFinal(status) ? atMs + tookMs : null,
    hasError ? JSON.stringify({ name: error, message: "m" }) : null,
    id,
  );
}

/** All that a filter finds, call by call. */
function findAll(search: TaskSearch, filter: TaskFilter, limit: number): TaskRow[] {
  const all: TaskRow[] = [];
  for (let before = FIRST; ; ) {
    const { rows, until } = search.find({ filter, before, limit });
    expect(rows.length).toBeLessThanOrEqual(limit);
    all.push(...rows);
    if (until === null) return all;
    before = until;
  }
}

const shape = fc.record({
  type: fc.constantFrom("t", "u"),
  status: fc.constantFrom(...TASK_STATUSES),
  atMs: fc.integer({ min: T0, max: T0 + 5 }),
  tookMs: fc.constantFrom(0, 2, 60_000, 60_001, 100_000),
  tags: fc.uniqueArray(fc.constantFrom("a", "b", "c"), { maxLength: 3 }),
  error: fc.constantFrom("E", "F", null),
});
const span = fc.record({
  fromMs: fc.constantFrom(0, T0 + 2, T0 + 60_001),
  untilMs: fc.constantFrom(T0 + 3, T0 + 70_000, ANY_TIME.untilMs),
});
const filterOf = fc.record({
  statuses: fc.uniqueArray(fc.constantFrom(...TASK_STATUSES), { maxLength: 3 }),
  type: fc.constantFrom("t", undefined, undefined),
  tags: fc.uniqueArray(fc.constantFrom("a", "b"), { maxLength: 2 }),
  error: fc.constantFrom("E", undefined, undefined),
  scheduleId: fc.constantFrom("a", undefined, undefined),
  created: fc.oneof(fc.constant(ANY_TIME), span),
  started: fc.oneof(fc.constant(undefined), span),
  finished: fc.oneof(fc.constant(undefined), span),
});

test("the calls of a search find every task that matches once, newest first", async () => {
  await withTables((tables) => {
    const { sql } = tables;
    const search = new TaskSearch(sql, tables.queries);
    const shapes = fc.array(shape, { maxLength: 30 });
    const property = fc.property(shapes, filterOf, fc.integer({ min: 1, max: 6 }), (all, filter, limit) => {
      for (const table of ["task", "event"]) sql.exec(`DELETE FROM ${table}`);
      for (const [n, one] of all.entries()) add(tables, `t${(n * 7) % 31}`, one);
      const expected = sql
        .exec<TaskRow>("SELECT * FROM task")
        .toArray()
        .filter((row) => matches(row, filter))
        .toSorted(byAge);
      const found = findAll(search, filter, limit);
      expect(found.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    });
    fc.assert(property, { numRuns: 60 });
  });
});

test("a call looks at a bounded number of tasks, and the next one goes on where it was left", async () => {
  await withTables((tables) => {
    const { sql } = tables;
    const search = new TaskSearch(sql, tables.queries);
    for (let n = 0; n < 6_000; n++)
      add(tables, `t${String(n).padStart(4, "0")}`, {
        type: n % 2 === 0 ? "t" : "u",
        status: "succeeded",
        atMs: T0 + n,
        tookMs: 0,
        tags: n === 3 ? ["a"] : [],
        error: null,
      });
    const filter = { ...ALL, scheduleId: "a" };
    const first = search.find({ filter, before: FIRST, limit: 5 });
    expect(first.rows).toEqual([]);
    expect(first.until?.createdAtMs).toBeGreaterThan(T0 + 3_000);
    expect(findAll(search, filter, 5).map(({ id }) => id)).toEqual(["t0003"]);
    // A tag has an index.
    expect(search.find({ filter: { ...ALL, tags: ["a"] }, before: FIRST, limit: 5 })).toMatchObject({
      rows: [{ id: "t0003" }],
      until: null,
    });
  });
});

const entries = ({ sql }: Tables) => sql.exec("SELECT tag, task_id FROM task_tag").toArray();

test("a task's tags go with it, and a task without tags has no entry", async () => {
  await withTables((tables) => {
    const plain = { type: "t", status: "queued", atMs: T0, tookMs: 0, tags: [], error: null } as const;
    add(tables, "none", { ...plain, tags: [] });
    expect(entries(tables)).toEqual([]);
    add(tables, "two", { ...plain, tags: ["a", "b"] });
    add(tables, "one", { ...plain, tags: ["b"] });
    expect(countTags(tables.sql)).toEqual([
      { tag: "a", count: 1 },
      { tag: "b", count: 2 },
    ]);
    expect(countTagged(tables.sql, "b")).toEqual([{ type: "t", status: "queued", count: 2 }]);
    tables.tasks.remove("two");
    expect(entries(tables)).toEqual([{ tag: "b", task_id: "one" }]);
    // As a release that knows no tags would, after a rollback.
    tables.sql.exec("DELETE FROM task WHERE id = 'one'");
    expect(entries(tables)).toEqual([]);
  });
});
