/** Types that limit each key by itself, types with a rate, and types that are paused: what runs next. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { MAX_RUNNERS } from "../../../src/tasks/ledger/dispatch.ts";
import { claim } from "../../../src/tasks/ledger/rules.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { insert, type Tables, withTables } from "../../support/ledger-tables.ts";
import { FAILURE, inLedger, newTask, pass, SUCCESS, T0, useLedger } from "../../support/ledgers.ts";

const input = z.object({ customer: z.string() });
const key = ({ customer }: z.input<typeof input>) => customer;
const body = { input, run: async () => null };
registerTaskTypes([
  defineTask({ ...body, name: "keys-one", concurrency: { limit: 1, key } }),
  defineTask({ ...body, name: "keys-two", concurrency: { limit: 2, key } }),
  defineTask({ ...body, name: "keys-rate", rate: { perSecond: 1, burst: 2 } }),
  defineTask({ ...body, name: "keys-slow", concurrency: { limit: 1, key }, rate: { perSecond: 1 } }),
  defineTask({ ...body, name: "keys-free" }),
]);

const ledger = useLedger();
const of = (type: string, id: string, customer: string, more = {}) =>
  newTask(type, id, { input: JSON.stringify({ customer }), ...more });
const FAST = { lane: "fast" } as const;
const ids = (claims: { taskId: string }[]) => claims.map(({ taskId }) => taskId);

/** Claims what is next, as the ledger's alarm does. */
function dispatchAll({ dispatch, tasks }: Tables, nowMs = T0): string[] {
  const next = dispatch.next(nowMs);
  dispatch.noteDispatched(next, nowMs);
  for (const task of next) tasks.save(claim(task, "long", nowMs), nowMs);
  return next.map(({ id }) => id);
}

const end = ({ sql }: Tables, id: string) =>
  sql.exec("UPDATE task SET status = 'succeeded', lane = NULL, finished_at_ms = ? WHERE id = ?", T0, id);

describe("of a type with keys", () => {
  test("each key has its limit, in both lanes together, and none holds up another", async () => {
    await inLedger(ledger.name, (inside) => {
      const claims = inside.object.submit([
        of("keys-two", "a1", "a", FAST),
        of("keys-two", "a2", "a", FAST),
        of("keys-two", "a3", "a", FAST),
        of("keys-two", "b1", "b", FAST),
        of("keys-two", "a4", "a"),
        of("keys-two", "b2", "b"),
        of("keys-two", "b3", "b"),
      ]);
      expect(claims.map((given) => given?.taskId)).toEqual([
        "a1",
        "a2",
        undefined,
        "b1",
        undefined,
        undefined,
        undefined,
      ]);
      expect(ids(inside.alarm())).toEqual(["b2"]);
      inside.report("a1", SUCCESS);
      expect(ids(inside.alarm())).toEqual(["a3"]);
      inside.report("b1", FAILURE);
      expect(ids(inside.alarm())).toEqual(["b3"]);
    });
  });

  test("a task that would start at once passes no other of its key, and waits for none of another", async () => {
    await inLedger(ledger.name, ({ object }) => {
      object.submit([of("keys-one", "a1", "a"), of("keys-one", "b1", "b")]);
      pass(1_000);
      const claims = object.submit([of("keys-one", "a2", "a", FAST), of("keys-one", "c1", "c", FAST)]);
      expect(claims.map((given) => given?.taskId)).toEqual([undefined, "c1"]);
    });
  });

  test("a key with a thousand queued delays one with a single task by one turn at most, also after a restart", async () => {
    await inLedger(ledger.name, (inside) => {
      // One runner is free: turns are all that there is.
      const busy = Array.from({ length: MAX_RUNNERS - 1 }, (_, n) => newTask("keys-free", `f${n}`));
      inside.object.submit([
        ...busy,
        ...Array.from({ length: 1_000 }, (_, n) => of("keys-one", `m${n}`, "m")),
      ]);
      expect(inside.alarm()).toHaveLength(MAX_RUNNERS);
      const running = inside.sql("SELECT id FROM task WHERE type = 'keys-one' AND status = 'running'");
      expect(running).toHaveLength(1);
      pass(1);
      inside.object.submit([of("keys-one", "a", "a"), of("keys-one", "z", "z")]);
      const order: string[] = [];
      let [current = ""] = running.map(({ id }) => id as string);
      for (let n = 0; n < 4; n++) {
        inside.report(current, SUCCESS);
        current = ids(inside.alarm())[0] ?? "";
        order.push(current.replace(/\d+/, ""));
      }
      expect(order).toEqual(["z", "a", "m", "m"]);
    });
  });

  test("for any queues and ends: limits are kept, each key is served in its order, and turns are fair", async () => {
    const action = fc.oneof(
      fc.record({
        is: fc.constant("submit" as const),
        key: fc.constantFrom("a", "b", "c", "ä", "\u{1f600}", "\uffee"),
        rankMs: fc.nat(50),
      }),
      fc.record({ is: fc.constant("end" as const), nth: fc.nat(20) }),
      fc.record({ is: fc.constant("dispatch" as const), max: fc.integer({ min: 1, max: 4 }) }),
    );
    await withTables((tables) => {
      const { sql, dispatch, tasks } = tables;
      const property = fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        sql.exec("DELETE FROM task");
        sql.exec("DELETE FROM dispatch");
        const queued = new Map<string, { id: string; rankMs: number }[]>();
        const running = new Map<string, string[]>();
        /** For each key that waits, what others have begun since it began to wait with a free slot. */
        const passed = new Map<string, Map<string, number>>();
        let count = 0;
        for (const step of actions) {
          if (step.is === "submit") {
            const id = `t${String(count++).padStart(3, "0")}`;
            insert(tables, id, { type: "keys-two", key: step.key, atMs: T0 + step.rankMs });
            queued.set(step.key, [...(queued.get(step.key) ?? []), { id, rankMs: step.rankMs }]);
          } else if (step.is === "end") {
            const all = [...running].flatMap(([name, list]) => list.map((id) => ({ name, id })));
            const one = all[step.nth];
            if (!one) continue;
            end(tables, one.id);
            running.set(
              one.name,
              (running.get(one.name) ?? []).filter((id) => id !== one.id),
            );
          } else {
            const next = dispatch.next(T0, step.max);
            dispatch.noteDispatched(next, T0);
            const open = [...queued].filter(
              ([name, list]) => list.length > 0 && (running.get(name) ?? []).length < 2,
            );
            const room = open.reduce(
              (sum, [name, list]) => sum + Math.min(list.length, 2 - (running.get(name) ?? []).length),
              0,
            );
            expect(next).toHaveLength(Math.min(step.max, room));
            for (const task of next) {
              const name = task.concurrency_key ?? "";
              const line = (queued.get(name) ?? []).toSorted(
                (a, b) => a.rankMs - b.rankMs || (a.id < b.id ? -1 : 1),
              );
              expect(task.id).toBe(line[0]?.id);
              queued.set(name, line.slice(1));
              running.set(name, [...(running.get(name) ?? []), task.id]);
              expect(running.get(name)?.length).toBeLessThanOrEqual(2);
              tasks.save(claim(task, "long", T0), T0);
              passed.delete(name);
              for (const [other] of open) {
                if (other === name || (running.get(other) ?? []).length >= 2 || !queued.get(other)?.length)
                  continue;
                const counts = passed.get(other) ?? new Map<string, number>();
                counts.set(name, (counts.get(name) ?? 0) + 1);
                passed.set(other, counts);
                expect(counts.get(name)).toBeLessThanOrEqual(1);
              }
            }
          }
          // A key that is full, or has nothing, does not wait.
          for (const name of passed.keys())
            if ((running.get(name) ?? []).length >= 2 || !queued.get(name)?.length) passed.delete(name);
        }
        sql.exec("DELETE FROM event");
      });
      fc.assert(property, { numRuns: 100 });
    });
  });

  test("ten thousand queued of one key are not looked at for the sake of a hundred others", async () => {
    await withTables((tables) => {
      const { sql, dispatch } = tables;
      insert(tables, "m", { type: "keys-one", key: "m" });
      const columns = sql.exec<{ name: string }>("SELECT name FROM pragma_table_info('task')").toArray();
      const others = columns
        .map(({ name }) => name)
        .filter((name) => name !== "id" && name !== "concurrency_key");
      sql.exec(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         INSERT INTO task (id, concurrency_key, ${others.join(", ")}) SELECT 'm' || i, 'm', ${others.join(", ")} FROM task, n WHERE id = 'm'`,
      );
      for (let n = 0; n < 100; n++) insert(tables, `k${n}`, { type: "keys-one", key: `k${n}`, atMs: T0 + 1 });
      const counted = countReads(tables);
      const first = dispatchAll(tables);
      expect(first).toHaveLength(MAX_RUNNERS);
      expect(counted()).toBeLessThan(3_000);
      end(tables, first[0] ?? "");
      expect(dispatchAll(tables)).toHaveLength(1);
      expect(counted()).toBeLessThan(4_000);
      expect(dispatch.next(T0)).toEqual([]);
    });
  });

  test("tasks that were written before their type had keys take a turn together", async () => {
    await withTables((tables) => {
      insert(tables, "old1", { type: "keys-one" });
      insert(tables, "old2", { type: "keys-one" });
      insert(tables, "a1", { type: "keys-one", key: "a", atMs: T0 + 1 });
      expect(dispatchAll(tables).toSorted()).toEqual(["a1", "old1"]);
      end(tables, "old1");
      expect(dispatchAll(tables)).toEqual(["old2"]);
    });
  });
});

/** How many rows are read from now on. */
function countReads({ sql }: Tables): () => number {
  const exec = sql.exec.bind(sql);
  const cursors: SqlStorageCursor<Record<string, SqlStorageValue>>[] = [];
  Object.defineProperty(sql, "exec", {
    configurable: true,
    value: (...args: Parameters<typeof exec>) => {
      const cursor = exec(...args);
      cursors.push(cursor);
      return cursor;
    },
  });
  return () => cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0);
}

describe("of a type with a rate", () => {
  test("so many begin at once, and then at the rate, in either lane; the alarm is set for the next", async () => {
    await inLedger(ledger.name, async (inside) => {
      const claims = inside.object.submit([1, 2, 3].map((n) => of("keys-rate", `t${n}`, "a", FAST)));
      expect(claims.map((given) => given !== null)).toEqual([true, true, false]);
      expect(inside.alarm()).toEqual([]);
      expect(await inside.storage.getAlarm()).toBe(T0 + 1_000);
      pass(1_000);
      expect(ids(inside.alarm())).toEqual(["t3"]);
      expect(inside.object.submit([of("keys-rate", "t4", "a", FAST)])).toEqual([null]);
      pass(1_000);
      // It would pass a task that waits.
      expect(inside.object.submit([of("keys-rate", "t5", "a", FAST)])).toEqual([null]);
      expect(ids(inside.alarm())).toEqual(["t4"]);
      pass(9_000);
      expect(ids(inside.alarm())).toEqual(["t5"]);
    });
  });

  test("keys take turns with what the rate leaves", async () => {
    await inLedger(ledger.name, (inside) => {
      inside.object.submit(["m", "m", "m", "a", "z"].map((name, n) => of("keys-slow", `${name}${n}`, name)));
      const order: string[] = [];
      for (let n = 0; n < 5; n++) {
        const [next = ""] = ids(inside.alarm());
        order.push(next);
        inside.report(next, SUCCESS);
        pass(1_000);
      }
      expect(order).toEqual(["a3", "m0", "z4", "m1", "m2"]);
    });
  });

  test("a task that waits for its rate does not make the ledger overdue", async () => {
    await inLedger(ledger.name, async (inside) => {
      inside.object.submit([1, 2, 3].map((n) => of("keys-rate", `t${n}`, "a", FAST)));
      pass(1_000);
      expect(await inside.object.rearm()).toBe(0);
      pass(59_000);
      expect(await inside.object.rearm()).toBe(59_000);
    });
  });
});

describe("of a paused type", () => {
  test("nothing begins but what is forced, and other types go on", async () => {
    await withTables((tables) => {
      const { dispatch, changes } = tables;
      insert(tables, "waits", { type: "keys-free" });
      insert(tables, "forced", { type: "keys-free", atMs: T0 + 1, force: true });
      insert(tables, "other", { type: "keys-two", key: "a", atMs: T0 + 2 });
      changes.set("keys-free", { paused: true, atMs: T0 });
      const starting = { type: "keys-free", key: null, rankMs: T0 + 9 };
      expect(dispatch.canStartNow({ ...starting, passesPause: false }, T0)).toBe(false);
      expect(dispatch.canStartNow({ ...starting, passesPause: true }, T0)).toBe(true);
      expect(dispatch.hasQueued()).toBe(true);
      expect(dispatchAll(tables)).toEqual(["forced", "other"]);
      // So that what is reported of other tasks wakes nobody.
      expect([dispatchAll(tables), dispatch.hasQueued()]).toEqual([[], false]);
      changes.clear();
      expect(dispatchAll(tables)).toEqual(["waits"]);
    });
  });

  test("with keys, what is forced keeps to the limit of its key", async () => {
    await withTables((tables) => {
      for (const id of ["a1", "a2"]) insert(tables, id, { type: "keys-one", key: "a", force: true });
      insert(tables, "b1", { type: "keys-one", key: "b", atMs: T0 + 1, force: true });
      tables.changes.set("keys-one", { paused: true, atMs: T0 });
      expect(dispatchAll(tables)).toEqual(["a1", "b1"]);
      end(tables, "a1");
      expect(dispatchAll(tables)).toEqual(["a2"]);
    });
  });
});
