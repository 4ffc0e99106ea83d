/** Whose turn it is: who may begin at once, and who is given to runners when there is room. */
import * as fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { canStartNow, MAX_RUNNERS, nextToDispatch } from "../../../src/tasks/ledger/dispatch.ts";
import { claim, submit } from "../../../src/tasks/ledger/rules.ts";
import { TaskTable } from "../../../src/tasks/ledger/task-table.ts";
import { defineTask, type Lane } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { inLedger, newLedgerName, newTask, pass, SUCCESS, T0, useClock } from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([
  defineTask({ ...body, name: "line-free" }),
  defineTask({ ...body, name: "line-one", concurrency: 1 }),
  defineTask({ ...body, name: "line-two", concurrency: 2 }),
]);

useClock();
keepQuiet();

let name: string;
beforeEach(() => {
  name = newLedgerName();
});

const free = (id: string, more = {}) => newTask("line-free", id, more);
const one = (id: string, more = {}) => newTask("line-one", id, more);
const two = (id: string, more = {}) => newTask("line-two", id, more);
const FAST = { lane: "fast" } as const;

describe("whoever is submitted to be run at once", () => {
  test("keeps to the cap of a type, within one submission and over several", async () => {
    await inLedger(name, ({ object }) => {
      const claims = object.submit([two("a", FAST), two("b", FAST), two("c", FAST), free("d", FAST)]);
      expect(claims.map((given) => given?.taskId)).toEqual(["a", "b", undefined, "d"]);
      expect(object.submit([two("e", FAST)])).toEqual([null]);
    });
  });

  test("a newcomer does not pass one who waits, unless its rank is better", async () => {
    await inLedger(name, (inside) => {
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
  test("gives what is in the line to runners, the lowest rank first", async () => {
    await inLedger(name, async (inside) => {
      inside.object.submit([one("old"), one("urgent", { priority: 9 }), one("young", { priority: 1 })]);
      const order: (string | undefined)[] = [];
      for (let n = 0; n < 3; n++) {
        const [next] = inside.alarm();
        order.push(next?.taskId);
        inside.report(next?.taskId ?? "", SUCCESS);
      }
      expect(order).toEqual(["urgent", "young", "old"]);
      await vi.waitFor(() => expect(inside.given.map(({ taskId }) => taskId)).toEqual(order));
    });
  });

  test("passes over a type at its cap, for others that came later", async () => {
    await inLedger(name, (inside) => {
      inside.object.submit([one("a"), one("b"), one("c")]);
      pass(1);
      inside.object.submit([free("d"), two("e"), two("f"), two("g")]);
      expect(inside.alarm().map(({ taskId }) => taskId)).toEqual(["a", "d", "e", "f"]);
      expect(inside.alarm()).toEqual([]);
    });
  });

  test("has no more than 100 tasks in runners; the rest follow as those end", async () => {
    await inLedger(name, (inside) => {
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

/** Does something with a book of its own, and enters tasks into it. */
const withTables = async (action: (book: TaskTable, enter: Enter, sql: SqlStorage) => void) =>
  inLedger(name, ({ storage }) => {
    const book = new TaskTable(storage.sql, () => undefined);
    const enter: Enter = (id, type, rankMs, lane = null) => {
      const entry = { id, type, input: "1", runAtMs: 0, callbackUrl: null };
      expect(book.insert(entry, submit(0, 0, lane, rankMs), rankMs)).toBe(true);
    };
    action(queries, insert, storage.sql);
  });
type Enter = (id: string, type: string, rankMs: number, lane?: Lane | null) => void;

describe("whether a task is free to begin", () => {
  test("depends on nothing, if its type has no cap, or is not known", async () => {
    await withTables((queries, insert) => {
      for (let n = 0; n <= MAX_RUNNERS; n++) insert(`t${n}`, "line-free", T0, n === 0 ? null : "long");
      expect([canStartNow(queries, "line-free", T0 + 1), canStartNow(queries, "line-gone", T0)]).toEqual([true, true]);
    });
  });

  test("depends on how many of its type run, in either lane, and on nobody else", async () => {
    await withTables((queries, insert) => {
      insert("other", "line-one", T0, "fast");
      const frees = [canStartNow(queries, "line-two", T0)];
      for (const lane of ["fast", "long"] as const) {
        insert(lane, "line-two", T0, lane);
        frees.push(canStartNow(queries, "line-two", T0));
      }
      expect(frees).toEqual([true, true, false]);
      // Not even the best of ranks makes room.
      expect(canStartNow(queries, "line-two", 0)).toBe(false);
    });
  });

  test("depends on who was there before: only a lower rank passes the first in the line", async () => {
    await withTables((queries, insert) => {
      insert("second", "line-two", T0 + 5);
      insert("first", "line-two", T0);
      expect([-1, 0, 1].map((ms) => canStartNow(queries, "line-two", T0 + ms))).toEqual([true, false, false]);
      expect(canStartNow(queries, "line-one", T0 + 1)).toBe(true);
    });
  });
});

describe("those who are next", () => {
  test("are as many as are asked for, and as there is room for", async () => {
    await withTables((queries, insert) => {
      expect(nextToDispatch(queries)).toEqual([]);
      for (let n = 0; n < 5; n++) insert(`q${n}`, "line-free", T0 + n);
      expect(nextToDispatch(queries, 2).map(({ id }) => id)).toEqual(["q0", "q1"]);
      expect(nextToDispatch(queries, 0)).toEqual([]);
      for (let n = 1; n < MAX_RUNNERS; n++) insert(`r${n}`, "line-free", T0, "long");
      // What runs where it was submitted takes no runner.
      insert("here", "line-free", T0, "fast");
      expect(nextToDispatch(queries).map(({ id }) => id)).toEqual(["q0"]);
      insert("last", "line-free", T0, "long");
      expect(nextToDispatch(queries)).toEqual([]);
    });
  });

  test("are those of the lowest rank, then id, that their types have room for", async () => {
    const CAPS: Record<string, number> = { "line-one": 1, "line-two": 2 };
    const task = fc.record({
      type: fc.constantFrom("line-one", "line-two", "line-free", "line-gone"),
      rankMs: fc.integer({ min: T0, max: T0 + 3 }),
      isRunning: fc.boolean(),
    });
    await withTables((queries, insert, sql) => {
      const property = fc.property(
        fc.array(task, { maxLength: 25 }),
        fc.integer({ min: 1, max: 9 }),
        (made, most) => {
          sql.exec("DELETE FROM task");
          const room = new Map<string, number>();
          const roomOf = (type: string) => room.get(type) ?? CAPS[type] ?? MAX_RUNNERS;
          const waiting: { id: string; type: string; rankMs: number }[] = [];
          for (const [n, { type, rankMs, isRunning }] of made.entries()) {
            const id = `t${(n * 7) % 25}`;
            const runs = isRunning && roomOf(type) > 0;
            insert(id, type, rankMs, runs ? "long" : null);
            if (runs) room.set(type, roomOf(type) - 1);
            else waiting.push({ id, type, rankMs });
          }
          const expected: string[] = [];
          for (const { id, type } of waiting.toSorted(
            (a, b) => a.rankMs - b.rankMs || (a.id < b.id ? -1 : 1),
          )) {
            if (expected.length === most || roomOf(type) === 0) continue;
            room.set(type, roomOf(type) - 1);
            expected.push(id);
          }
          const next = nextToDispatch(queries, most);
          expect(next.map(({ id }) => id)).toEqual(expected);
          // Once these are claimed, whoever is next is somebody else.
          for (const row of next) table.save(claim(row, "long", T0), T0);
          const given = new Set(expected);
          expect(nextToDispatch(queries, most).filter(({ id }) => given.has(id))).toEqual([]);
          sql.exec("DELETE FROM event");
        },
      );
      fc.assert(property, { numRuns: 150 });
    });
  });
});
