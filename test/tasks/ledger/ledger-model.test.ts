/** The real ledger beside a model of it: both receive the same commands and must have the same results. */
import { evictDurableObject } from "cloudflare:test";
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import { isFinal, type Outcome, type TaskState } from "../../../src/tasks/ledger/task-state.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  DAY_MS,
  type Inside,
  inLedger,
  ledgerCalled,
  newLedgerName,
  newTask,
  pass,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { must } from "../../support/task-history.ts";
import { World } from "../../support/task-world.ts";

const TYPES = {
  "ledger-model-capped": { cap: 2, retry: { retries: 1, minDelayMs: 1_000, maxDelayMs: 5_000, factor: 3 } },
  "ledger-model-free": { retry: { retries: 3, minDelayMs: 100, maxDelayMs: 60_000, factor: 2 } },
};
const RETENTION_MS = { succeeded: 7 * DAY_MS, failed: 30 * DAY_MS, cancelled: 7 * DAY_MS };
const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([
  defineTask({
    ...body,
    name: "ledger-model-capped",
    concurrency: 2,
    retry: TYPES["ledger-model-capped"].retry,
  }),
  defineTask({ ...body, name: "ledger-model-free", retry: TYPES["ledger-model-free"].retry }),
]);

useClock();
keepQuiet();

const pick = fc.nat(9);
const outcome = fc.constantFrom<(nowMs: number) => Outcome>(
  () => ({ kind: "succeeded", result: "1" }),
  () => ({ kind: "failed", error: { name: "Error", message: "no" }, isFinal: false }),
  () => ({ kind: "failed", error: { name: "Error", message: "no" }, isFinal: true }),
  (nowMs) => ({ kind: "handed-over", notBeforeMs: nowMs + 12_345 }),
  () => ({ kind: "handed-over", notBeforeMs: 0 }),
  () => ({ kind: "crashed" }),
  () => ({ kind: "not-begun" }),
);
const command = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      type: fc.constantFrom("ledger-model-capped", "ledger-model-free"),
      priority: fc.nat(9),
      delayMs: fc.constantFrom(0, 0, 1_000, 40_000),
      lane: fc.constantFrom("fast" as const, null),
      lifetimeMs: fc.constantFrom(0, 35_000),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("alarm" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("pass" as const),
      ms: fc.constantFrom(1, 900, 5_000, 15_000, DAY_MS),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("report" as const),
      pick,
      age: fc.constantFrom(0, 0, 0, 1),
      outcome,
      livesMs: fc.constantFrom(undefined, undefined, 0, 20_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "heartbeat" as const,
        "open" as const,
        "step" as const,
        "cancel" as const,
        "retry" as const,
      ),
      pick,
    }),
  },
);
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

/** Gives a command to both, and compares their replies. */
function obey(world: World, { object }: Inside, given: Command): void {
  world.nowMs = Date.now();
  if (given.do === "pass") return pass(given.ms);
  if (given.do === "alarm") {
    object.alarm();
    return void world.alarm();
  }
  if (given.do === "submit") {
    const id = `t${String(world.items.size).padStart(3, "0")}.${world.nowMs}`;
    const runAtMs = given.delayMs === 0 ? 0 : world.nowMs + given.delayMs;
    const [claim] = object.submit([newTask(given.type, id, { ...given, runAtMs })]);
    const token = world.submit(id, given.type, given.priority, runAtMs, given.lane, given.lifetimeMs);
    return must((claim?.token ?? null) === token, "both return the same claim");
  }
  const item = [...world.items.values()][given.pick % Math.max(1, world.items.size)];
  if (!item) return;
  const { id: taskId } = item;
  const token = item.tokens.at(-1) ?? 1;
  if (given.do === "heartbeat")
    must(
      object.renew({ taskId, token }).reply === world.heartbeat(item, token),
      "both reply alike to a heartbeat",
    );
  if (given.do === "step") {
    // The same name again is the same step.
    const isAccepted = object.step({ taskId, token }, `step ${item.events}`, "1");
    must(isAccepted === world.step(item, token), "both accept the same steps");
  }
  if (given.do === "open" && item.life.cancelledAtMs === undefined)
    must((object.open({ taskId, token }) !== null) === world.open(item, token), "both open the same claims");
  if (given.do === "retry")
    must((object.retry(taskId) !== "refused") === world.retry(item), "both reply alike to a retry");
  if (given.do === "cancel")
    must(
      (object.cancel(taskId) === "ended") === (world.cancel(item) === "ended"),
      "both reply alike to a cancel",
    );
  if (given.do !== "report") return;
  const reported = given.outcome(world.nowMs);
  const aged = item.tokens.at(-1 - given.age) ?? 99;
  // A report that is sent twice, because its reply was lost, is applied once.
  const busy = given.livesMs === undefined ? {} : { busyUntilMs: world.nowMs + given.livesMs };
  const twice = { taskId, token: aged, outcome: reported, ...busy };
  object.report([twice, twice]);
  world.report(item, aged, reported, busy.busyUntilMs);
}

/** The rows match the model, the histories have no gap, and the alarm is no later than the first due task. */
async function compare(world: World, inside: Inside): Promise<void> {
  const { storage, object } = inside;
  const rows = inside.sql("SELECT * FROM task ORDER BY id") as (TaskState & { id: string; events: number })[];
  const items = [...world.items.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  expect(rows.map(({ id }) => id)).toEqual(items.map(({ id }) => id));
  for (const [n, { state, events }] of items.entries()) {
    const row = rows[n] as Record<string, unknown> | undefined;
    // The end of a task is not stored as an event.
    const expected = { ...state, events: isFinal(state.status) ? events - 1 : events };
    const isEqual = Object.entries(expected).every(([name, value]) => row?.[name] === value);
    // A matcher takes much longer than the ledger, so it only words the difference.
    if (!isEqual) expect(row).toMatchObject(expected);
  }
  const gaps = inside.sql(
    `SELECT id FROM task WHERE events <> 1 + (SELECT count(*) FROM event WHERE task_id = id AND number BETWEEN 2 AND events)
     UNION SELECT task_id FROM event WHERE number > (SELECT events FROM task WHERE id = task_id) OR number < 2
     UNION SELECT task_id FROM event WHERE task_id NOT IN (SELECT id FROM task)`,
  );
  expect(gaps).toEqual([]);
  const [late] = inside.sql("SELECT min(due_at_ms) AS at FROM task WHERE finished_at_ms IS NULL");
  const alarmAtMs = (await storage.getAlarm()) ?? Number.POSITIVE_INFINITY;
  must(
    alarmAtMs <= Math.max(Number(late?.at ?? Number.POSITIVE_INFINITY), Date.now()),
    "the alarm is set in time",
  );
  must(!world.hasRoom() || alarmAtMs <= Date.now(), "a queued task with a free slot is dispatched at once");
  expect(
    object.list({
      statuses: [],
      type: undefined,
      fromMs: 0,
      before: { createdAtMs: 9e15, id: "" },
      limit: 999,
    }),
  ).toHaveLength(rows.length);
}

/** Lets the runners stop that the ledger has told to. */
async function letStop(world: World, { stopping }: Inside): Promise<void> {
  const names = [...stopping.keys()];
  for (const name of names) stopping.get(name)?.();
  stopping.clear();
  // The ledger goes on after its call has returned.
  if (names.length > 0) await scheduler.wait(0);
  for (const name of names) {
    const item = world.items.get(name.slice(0, name.lastIndexOf(".")));
    if (item?.tokens.at(-1) === Number(name.slice(name.lastIndexOf(".") + 1))) world.stop(item);
  }
}

async function act(name: string, world: World, commands: Command[]): Promise<void> {
  await inLedger(name, async (inside) => {
    vi.spyOn(Math, "random").mockReturnValue(world.random);
    for (const given of commands) {
      obey(world, inside, given);
      await letStop(world, inside);
      if (given.do !== "pass") await compare(world, inside);
    }
    for (const { id, events } of world.items.values()) {
      const numbers = inside.events(id).map(({ number }) => number);
      must(
        numbers.length === events && numbers.every((number, n) => number === n + 1),
        "histories are whole",
      );
    }
  });
}

test("the ledger does what the rules say, even if it is evicted in between", async () => {
  const phases = fc.array(fc.array(command, { minLength: 15, maxLength: 25 }), {
    minLength: 2,
    maxLength: 3,
  });
  const property = fc.asyncProperty(phases, async (parts) => {
    vi.setSystemTime(T0);
    const name = newLedgerName();
    const world = new World(T0, TYPES, RETENTION_MS);
    for (const [n, commands] of parts.entries()) {
      if (n > 0) await evictDurableObject(ledgerCalled(name));
      await act(name, world, commands);
    }
  });
  await fc.assert(property, { numRuns: 15 });
});
