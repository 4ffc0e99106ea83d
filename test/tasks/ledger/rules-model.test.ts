/** Thousands of random histories: whatever happens to tasks, in whatever order, the rules keep their invariants. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  HEARTBEAT_MS,
  LEASE_MS,
  RUNNER_LEASE_MS,
  RUNNER_LIFETIME_MS,
} from "../../../src/tasks/ledger/rules.ts";
import { FINAL_STATUSES, type Outcome, TASK_STATUSES } from "../../../src/tasks/ledger/task-state.ts";
import { type Item, must } from "../../support/task-history.ts";
import { World } from "../../support/task-world.ts";

const T0 = Date.UTC(2100, 0, 1);
const TYPES = {
  capped: { cap: 2, retry: { retries: 1, minDelayMs: 1_000, maxDelayMs: 5_000, factor: 3 } },
  free: { retry: { retries: 3, minDelayMs: 100, maxDelayMs: 60_000, factor: 2 } },
};
const RETENTION_MS = { succeeded: 40_000, failed: 90_000, cancelled: 60_000 };

const pick = fc.nat(7);
const outcome = fc.oneof(
  fc.record({ kind: fc.constant("succeeded" as const), result: fc.constant("1") }),
  fc.record({
    kind: fc.constant("failed" as const),
    error: fc.constant({ name: "Error", message: "no" }),
    isFinal: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("handed-over" as const), afterMs: fc.integer({ min: -1_000, max: 30_000 }) }),
  fc.constantFrom({ kind: "crashed" as const }, { kind: "not-begun" as const }),
);
const command = fc.oneof(
  fc.record({
    do: fc.constant("submit" as const),
    type: fc.constantFrom("capped", "free"),
    priority: fc.nat(9),
    delayMs: fc.oneof(fc.constant(0), fc.integer({ min: -5, max: 40_000 })),
    lane: fc.constantFrom("fast" as const, null),
    lifetimeMs: fc.constantFrom(0, 35_000, 95_000),
  }),
  fc.record({ do: fc.constant("alarm" as const) }),
  fc.record({
    do: fc.constant("pass" as const),
    ms: fc.oneof(fc.integer({ min: 1, max: 2 * LEASE_MS }), fc.integer({ min: 1, max: 2 * RUNNER_LEASE_MS })),
    pulse: fc.boolean(),
  }),
  fc.record({
    do: fc.constant("report" as const),
    pick,
    age: fc.constantFrom(0, 0, 0, 1, 2),
    outcome,
    // The run has abandoned its code, which goes on for this long.
    livesMs: fc.constantFrom(undefined, undefined, -1, 500, 30_000, RUNNER_LIFETIME_MS),
    random: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({
    do: fc.constantFrom(
      "heartbeat" as const,
      "open" as const,
      "stop" as const,
      "step" as const,
      "cancel" as const,
      "retry" as const,
    ),
    pick,
  }),
);
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

/** Lets time pass. With a pulse, all holders send their heartbeats; without one, all are frozen. */
function pass(world: World, ms: number, hasPulse: boolean): void {
  const untilMs = world.nowMs + ms;
  while (world.nowMs < untilMs) {
    world.nowMs = hasPulse ? Math.min(untilMs, world.nowMs + HEARTBEAT_MS) : untilMs;
    if (!hasPulse) continue;
    for (const item of world.items.values()) world.heartbeat(item, item.holder ?? 0);
  }
}

function toOutcome(given: Extract<Command, { do: "report" }>["outcome"], nowMs: number): Outcome {
  if (given.kind === "handed-over") return { kind: "handed-over", notBeforeMs: nowMs + given.afterMs };
  return given;
}

function obey(world: World, given: Command): void {
  if (given.do === "submit") {
    const runAtMs = given.delayMs === 0 ? 0 : world.nowMs + given.delayMs;
    world.submit(
      `t${world.items.size}.${world.nowMs}`,
      given.type,
      given.priority,
      runAtMs,
      given.lane,
      given.lifetimeMs,
    );
  }
  if (given.do === "alarm") world.alarm();
  if (given.do === "pass") pass(world, given.ms, given.pulse);
  if (!("pick" in given)) return;
  const item = [...world.items.values()][given.pick % Math.max(1, world.items.size)];
  if (!item) return;
  if (given.do === "heartbeat") world.heartbeat(item, item.tokens.at(-1) ?? 1);
  if (given.do === "open") world.open(item, item.tokens.at(-1) ?? 1);
  if (given.do === "step") world.step(item, item.tokens.at(-1) ?? 1);
  if (given.do === "stop") world.stop(item);
  if (given.do === "cancel") world.cancel(item);
  if (given.do === "retry") world.retry(item);
  if (given.do !== "report") return;
  world.random = given.random;
  const before = item.state;
  const isAccepted = world.report(
    item,
    item.tokens.at(-1 - given.age) ?? 99,
    toOutcome(given.outcome, world.nowMs),
    given.livesMs === undefined ? undefined : world.nowMs + given.livesMs,
  );
  must(isAccepted || item.state === before, "a report that is not accepted changes nothing");
}

/** Lets all running tasks succeed, and time pass, until all tasks have ended. */
function runToEnd(world: World): void {
  const open = (): Item[] => [...world.items.values()].filter(({ life }) => !life.ended);
  for (let rounds = 0; open().length > 0; rounds++) {
    must(rounds < 500, "every task comes to an end");
    world.alarm();
    const items = open();
    for (const item of items) world.report(item, item.holder ?? -1, { kind: "succeeded", result: "2" });
    const nextMs = Math.min(...items.map((item) => world.nextMs(item) ?? world.nowMs));
    world.nowMs = Math.max(world.nowMs, nextMs);
  }
}

test("whatever happens to tasks, no invariant breaks and all of them end", () => {
  const statuses = new Set<string>();
  const property = fc.property(fc.array(command, { minLength: 20, maxLength: 60 }), (commands) => {
    const world = new World(T0, TYPES, RETENTION_MS);
    for (const given of commands) {
      obey(world, given);
      for (const { state } of world.items.values()) statuses.add(state.status);
    }
    runToEnd(world);
  });
  fc.assert(property, { numRuns: 1_000 });
  expect(statuses).toEqual(new Set(TASK_STATUSES));
});

test("whatever happened before, a claim without heartbeats is lost when its lease expires", () => {
  const property = fc.property(fc.array(command, { minLength: 10, maxLength: 40 }), (commands) => {
    const world = new World(T0, TYPES, RETENTION_MS);
    for (const given of commands) obey(world, given);
    world.alarm();
    const held = [...world.items.values()].map((item) => ({ item, token: item.holder ?? -1 }));
    world.nowMs = Math.max(world.nowMs, ...[...world.items.values()].map((item) => world.nextMs(item) ?? 0));
    world.alarm();
    for (const { item, token } of held) {
      must(
        !world.report(item, token, { kind: "succeeded", result: "late" }),
        "a report after the lease is not accepted",
      );
      must(item.holder !== token, "nobody holds a claim whose lease has expired");
    }
  });
  fc.assert(property, { numRuns: 1_000 });
});

test("after a task has ended, only a retry by hand changes it, until it is removed", () => {
  const property = fc.property(fc.array(command, { minLength: 10, maxLength: 40 }), (commands) => {
    const world = new World(T0, TYPES, RETENTION_MS);
    for (const given of commands) {
      const ended = [...world.items.values()].filter(({ life }) => life.ended);
      const states = ended.map(({ state }) => state);
      obey(world, given);
      for (const [n, item] of ended.entries()) {
        const isRetried = given.do === "retry" && !item.life.ended;
        // That its code has been stopped is known of a task that has ended, too.
        const before = { ...states[n], ...(given.do === "stop" ? { busy_until_ms: 0 } : {}) };
        const after = { ...item.state, ...(given.do === "stop" ? { busy_until_ms: 0 } : {}) };
        const isSame = JSON.stringify(after) === JSON.stringify(before);
        must(
          isRetried || isSame,
          `only a retry changes a task that has ended (${FINAL_STATUSES.join(", ")})`,
        );
      }
    }
  });
  fc.assert(property, { numRuns: 1_000 });
});
