/** Dispatch: which tasks may start at once, and which are given to runners when slots are free. */
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { KEPT_RUNNERS, MAX_RUNNERS } from "../../../src/tasks/ledger/dispatch.ts";
import { claim } from "../../../src/tasks/ledger/rules.ts";
import { POOLS, type Pool } from "../../../src/tasks/ledger/task-state.ts";
import { defineTask, type Lane } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { insert, type Tables, withTables } from "../../support/ledger-tables.ts";
import { type Inside, inLedger, newTask, pass, SUCCESS, T0, useLedger } from "../../support/ledgers.ts";

const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([
  defineTask({ ...body, name: "line-free" }),
  defineTask({ ...body, name: "line-one", concurrency: 1 }),
  defineTask({ ...body, name: "line-two", concurrency: 2 }),
]);

const ledger = useLedger();

const free = (id: string, more = {}) => newTask("line-free", id, more);
const one = (id: string, more = {}) => newTask("line-one", id, more);
const two = (id: string, more = {}) => newTask("line-two", id, more);
const FAST = { lane: "fast" } as const;

describe("a task that its submitter would run at once", () => {
  test("keeps to the concurrency of its type, within one submission and across several", async () => {
    await inLedger(ledger.name, ({ object }) => {
      const claims = object.submit([two("a", FAST), two("b", FAST), two("c", FAST), free("d", FAST)]);
      expect(claims.map((claimed) => claimed?.taskId)).toEqual(["a", "b", undefined, "d"]);
      expect(object.submit([two("e", FAST)])).toEqual([null]);
    });
  });

  test("does not pass a waiting task, unless it has a better rank", async () => {
    await inLedger(ledger.name, (inside) => {
      inside.object.submit([one("a", FAST), one("waits", { priority: 1 })]);
      pass(1_000);
      inside.report("a", SUCCESS);
      expect(inside.object.submit([one("equal", { ...FAST, priority: 1 })])).toEqual([null]);
      expect(inside.object.submit([one("better", { ...FAST, priority: 2 })])).toEqual([
        { taskId: "better", token: 1 },
      ]);
    });
  });
});

describe("the ledger's alarm", () => {
  test("gives queued tasks to runners, the lowest rank first", async () => {
    await inLedger(ledger.name, async (inside) => {
      inside.object.submit([one("old"), one("urgent", { priority: 9 }), one("young", { priority: 1 })]);
      const order: (string | undefined)[] = [];
      for (let n = 0; n < 3; n++) {
        const [next] = inside.alarm();
        order.push(next?.taskId);
        inside.report(next?.taskId ?? "", SUCCESS);
      }
      expect(order).toEqual(["urgent", "young", "old"]);
      await vi.waitFor(() => expect(inside.started.map(({ taskId }) => taskId)).toEqual(order));
    });
  });

  test("passes over a type at its limit, in favour of others that arrived later", async () => {
    await inLedger(ledger.name, (inside) => {
      inside.object.submit([one("a"), one("b"), one("c")]);
      pass(1);
      inside.object.submit([free("d"), two("e"), two("f"), two("g")]);
      expect(inside.alarm().map(({ taskId }) => taskId)).toEqual(["a", "d", "e", "f"]);
      expect(inside.alarm()).toEqual([]);
    });
  });

  test("has at most 100 tasks in runners; the others follow as those end", async () => {
    await inLedger(ledger.name, (inside) => {
      const tasks = Array.from({ length: 105 }, (_, n) => free(`t${String(n).padStart(3, "0")}`));
      inside.object.submit([...tasks, free("here", FAST)]);
      expect(inside.alarm()).toHaveLength(100);
      expect(inside.alarm()).toHaveLength(0);
      inside.report("t000", SUCCESS);
      inside.report("here", SUCCESS);
      expect(inside.alarm().map(({ taskId }) => taskId)).toEqual(["t100"]);
    });
  });
});

describe("behind 110 long tasks", () => {
  /** A ledger whose runners for everyone are taken, with ten more tasks waiting. */
  const withCrowd = async (action: (inside: Inside) => void) =>
    inLedger(ledger.name, (inside) => {
      const tasks = Array.from({ length: 110 }, (_, n) => free(`t${String(n).padStart(3, "0")}`));
      inside.object.submit(tasks);
      expect(inside.alarm()).toHaveLength(MAX_RUNNERS);
      pass(1_000);
      action(inside);
    });

  test("a callback has a runner at once, and more of them as others end", async () => {
    await withCrowd((inside) => {
      const url = { callbackUrl: "https://app.example.com/hooks/a" };
      inside.object.submit(Array.from({ length: 12 }, (_, n) => free(`here${n}`, { ...FAST, ...url })));
      for (let n = 0; n < 12; n++) inside.report(`here${n}`, SUCCESS);
      const callbacks = inside.alarm();
      expect(callbacks).toHaveLength(10);
      expect(callbacks.map(({ taskId }) => inside.object.getTask(taskId)?.type)).toEqual(
        Array(10).fill("callback"),
      );
      inside.report(callbacks[0]?.taskId ?? "", SUCCESS);
      expect(inside.alarm()).toHaveLength(1);
    });
  });

  test("a retry, a hand-over and a tick have runners at once", async () => {
    await withCrowd((inside) => {
      inside.object.submit([free("fails", FAST), free("continues", FAST), free("tick", { pool: "tick" })]);
      inside.report("fails", { kind: "failed", error: { name: "Error", message: "no" }, isFinal: false });
      inside.report("continues", { kind: "handed-over", notBeforeMs: 0 });
      expect(
        inside
          .alarm()
          .map(({ taskId }) => taskId)
          .toSorted(),
      ).toEqual(["continues", "tick"]);
      pass(1_000);
      expect(inside.alarm().map(({ taskId }) => taskId)).toEqual(["fails"]);
    });
  });

  test("any number of hand-overs leaves the runners of callbacks and ticks free", async () => {
    await withCrowd((inside) => {
      for (let n = 0; n < MAX_RUNNERS; n++)
        inside.report(`t${String(n).padStart(3, "0")}`, { kind: "handed-over", notBeforeMs: 0 });
      // Those that were handed over and those that never ran, in order of rank: ten more than there were before.
      expect(inside.alarm()).toHaveLength(MAX_RUNNERS + KEPT_RUNNERS.begun);
      inside.object.submit([free("tick", { pool: "tick" }), free("late")]);
      expect(inside.alarm().map(({ taskId }) => taskId)).toEqual(["tick"]);
    });
  });
});

test("for any tasks in runners and any queue, no pool takes the runners that are kept for another", async () => {
  const task = fc.record({ pool: fc.constantFrom(...POOLS), rankMs: fc.integer({ min: T0, max: T0 + 9 }) });
  await withTables((tables) => {
    const property = fc.property(
      fc.record({ new: fc.nat(110), begun: fc.nat(60), tick: fc.nat(25), callback: fc.nat(25) }),
      fc.array(task, { maxLength: 60 }),
      (running, queue) => {
        tables.sql.exec("DELETE FROM task");
        const inRunners = { new: 0, begun: 0, tick: 0, callback: 0 };
        const beyond = () =>
          POOLS.reduce((sum, pool) => sum + Math.max(0, inRunners[pool] - KEPT_RUNNERS[pool]), 0);
        const hasRunner = (pool: Pool) => inRunners[pool] < KEPT_RUNNERS[pool] || beyond() < MAX_RUNNERS;
        for (const pool of POOLS)
          for (let n = 0; n < running[pool] && hasRunner(pool); n++, inRunners[pool]++)
            insert(tables, `${pool}${n}`, { type: "line-free", pool, lane: "long" });
        const waiting = queue.map(({ pool, rankMs }, n) => ({
          id: `q${String(n).padStart(2, "0")}`,
          pool,
          rankMs,
        }));
        for (const { id, pool, rankMs } of waiting)
          insert(tables, id, { type: "line-free", pool, atMs: rankMs });
        const expected = waiting
          .toSorted((a, b) => a.rankMs - b.rankMs || (a.id < b.id ? -1 : 1))
          .filter(({ pool }) => hasRunner(pool) && ++inRunners[pool] > 0);
        expect(tables.dispatch.next(T0).map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
        for (const pool of ["tick", "callback"] as const)
          expect(
            inRunners[pool] >= KEPT_RUNNERS[pool] ||
              !waiting.some((other) => other.pool === pool && !expected.includes(other)),
          ).toBe(true);
      },
    );
    fc.assert(property, { numRuns: 100 });
  });
});

/** Runs `action` on the tables of a new ledger, with a function that inserts tasks by their rank. */
const withQueue = async (action: (tables: Tables, insert: Insert) => void) =>
  withTables((tables) => {
    action(tables, (id, type, rankMs, lane = null) =>
      expect(insert(tables, id, { type, atMs: rankMs, lane })).toBe(true),
    );
  });
const canStart = (dispatch: Tables["dispatch"], type: string, rankMs: number) =>
  dispatch.canStartNow({ type, key: null, rankMs, passesPause: false }, T0);
type Insert = (id: string, type: string, rankMs: number, lane?: Lane | null) => void;

describe("whether a task can start now", () => {
  test("depends on nothing if its type has no concurrency or is unknown", async () => {
    await withQueue(({ dispatch }, add) => {
      for (let n = 0; n <= MAX_RUNNERS; n++) add(`t${n}`, "line-free", T0, n === 0 ? null : "long");
      expect([canStart(dispatch, "line-free", T0 + 1), canStart(dispatch, "line-gone", T0)]).toEqual([
        true,
        true,
      ]);
    });
  });

  test("depends on how many tasks of its own type are running, in either lane", async () => {
    await withQueue(({ dispatch }, add) => {
      add("other", "line-one", T0, "fast");
      const frees = [canStart(dispatch, "line-two", T0)];
      for (const lane of ["fast", "long"] as const) {
        add(lane, "line-two", T0, lane);
        frees.push(canStart(dispatch, "line-two", T0));
      }
      expect(frees).toEqual([true, true, false]);
      // Not even the best rank makes a slot free.
      expect(canStart(dispatch, "line-two", 0)).toBe(false);
    });
  });

  test("depends on the queue: only a lower rank passes its first task", async () => {
    await withQueue(({ dispatch }, add) => {
      add("second", "line-two", T0 + 5);
      add("first", "line-two", T0);
      expect([-1, 0, 1].map((ms) => canStart(dispatch, "line-two", T0 + ms))).toEqual([true, false, false]);
      expect(canStart(dispatch, "line-one", T0 + 1)).toBe(true);
    });
  });
});

describe("the next tasks", () => {
  test("are at most as many as requested, and as there are free slots", async () => {
    await withQueue(({ dispatch }, add) => {
      expect(dispatch.next(T0)).toEqual([]);
      for (let n = 0; n < 5; n++) add(`q${n}`, "line-free", T0 + n);
      expect(dispatch.next(T0, 2).map(({ id }) => id)).toEqual(["q0", "q1"]);
      expect(dispatch.next(T0, 0)).toEqual([]);
      for (let n = 1; n < MAX_RUNNERS; n++) add(`r${n}`, "line-free", T0, "long");
      // A task in the fast lane occupies no runner.
      add("here", "line-free", T0, "fast");
      expect(dispatch.next(T0).map(({ id }) => id)).toEqual(["q0"]);
      add("last", "line-free", T0, "long");
      expect(dispatch.next(T0)).toEqual([]);
    });
  });

  test("are those with the lowest rank, then id, whose types have free slots", async () => {
    const CAPS: Record<string, number> = { "line-one": 1, "line-two": 2 };
    const task = fc.record({
      type: fc.constantFrom("line-one", "line-two", "line-free", "line-gone"),
      rankMs: fc.integer({ min: T0, max: T0 + 3 }),
      isRunning: fc.boolean(),
    });
    await withQueue(({ tasks, dispatch, sql }, add) => {
      const property = fc.property(
        fc.array(task, { maxLength: 25 }),
        fc.integer({ min: 1, max: 9 }),
        (created, max) => {
          sql.exec("DELETE FROM task");
          const room = new Map<string, number>();
          const slotsOf = (type: string) => room.get(type) ?? CAPS[type] ?? MAX_RUNNERS;
          const waiting: { id: string; type: string; rankMs: number }[] = [];
          for (const [n, { type, rankMs, isRunning }] of created.entries()) {
            const id = `t${(n * 7) % 25}`;
            const runs = isRunning && slotsOf(type) > 0;
            add(id, type, rankMs, runs ? "long" : null);
            if (runs) room.set(type, slotsOf(type) - 1);
            else waiting.push({ id, type, rankMs });
          }
          const expected: string[] = [];
          for (const { id, type } of waiting.toSorted(
            (a, b) => a.rankMs - b.rankMs || (a.id < b.id ? -1 : 1),
          )) {
            if (expected.length === max || slotsOf(type) === 0) continue;
            room.set(type, slotsOf(type) - 1);
            expected.push(id);
          }
          const next = dispatch.next(T0, max);
          expect(next.map(({ id }) => id)).toEqual(expected);
          // Once these are claimed, others are next.
          for (const row of next) tasks.save(claim(row, "long", T0), T0);
          const claimed = new Set(expected);
          expect(dispatch.next(T0, max).filter(({ id }) => claimed.has(id))).toEqual([]);
          sql.exec("DELETE FROM event");
        },
      );
      fc.assert(property, { numRuns: 150 });
    });
  });
});
