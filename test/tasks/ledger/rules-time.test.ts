/** The time of an attempt: it passes only while the attempt runs. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  claim,
  RUNNER_RETRY_MS,
  type RuleInputs,
  report,
  submit,
  tick,
} from "../../../src/tasks/ledger/rules.ts";
import type { Outcome, TaskState } from "../../../src/tasks/ledger/task-state.ts";

const NOW = 1_000_000;
const inputsAt = (nowMs: number): RuleInputs => ({
  nowMs,
  random: 0,
  retry: { retries: 2, minDelayMs: 1_000, maxDelayMs: 60_000, factor: 2 },
  retentionMs: { succeeded: 100, failed: 200, cancelled: 300 },
});
const started = (nowMs: number) => submit(0, 0, "fast", nowMs).task;

/** The queued task, after its claim had this outcome. */
function releasedAt(nowMs: number, task: TaskState, outcome: Outcome): TaskState {
  const released = report(task, task.token, outcome, inputsAt(nowMs))?.task ?? expect.fail("not accepted");
  if (released.status === "queued") return released;
  const transition = tick(released, inputsAt(released.due_at_ms ?? 0));
  return typeof transition === "object" ? transition.task : expect.fail("not due");
}

describe("a claim that continues an attempt gives it the remaining time", () => {
  test.each<[string, Outcome, number]>([
    ["a long sleep", { kind: "handed-over", notBeforeMs: NOW + 3_600_100 }, 3_600_000],
    ["abandoned code has ended", { kind: "handed-over", notBeforeMs: NOW + 1_100 }, 1_000],
    ["nothing", { kind: "handed-over", notBeforeMs: NOW + 100 }, 0],
    ["a time that has passed", { kind: "handed-over", notBeforeMs: 0 }, 0],
    ["an hour in the queue", { kind: "handed-over", notBeforeMs: 0 }, 3_600_000],
    ["no runner could be reached", { kind: "not-begun" }, RUNNER_RETRY_MS],
    ["an hour during which no runner could be reached", { kind: "not-begun" }, 3_600_000],
  ])("after %s", (_, outcome, waitsMs) => {
    // Before that it ran for 100 ms, and the next run continues from there.
    const nowMs = NOW + 100 + waitsMs;
    const { task } = claim(releasedAt(NOW + 100, started(NOW), outcome), "long", nowMs);
    expect(task).toMatchObject({ attempt: 1, attempt_started_at_ms: nowMs - 100, started_at_ms: NOW });
  });
});

describe("a claim gives the full time", () => {
  test.each<[string, Outcome, number]>([
    ["to an attempt whose machine died", { kind: "crashed" }, 1],
    ["to the next attempt", { kind: "failed", error: { name: "Error", message: "no" }, isFinal: false }, 2],
  ])("%s, even after hand-overs", (_, outcome, attempt) => {
    const going = releasedAt(NOW + 100, started(NOW), { kind: "handed-over", notBeforeMs: 0 });
    const again = releasedAt(NOW + 300, claim(going, "long", NOW + 200).task, outcome);
    expect(claim(again, "long", NOW + 9_000).task).toMatchObject({
      attempt,
      attempt_started_at_ms: NOW + 9_000,
    });
  });

  test("to an attempt whose lease has expired", () => {
    const transition = tick(started(NOW), inputsAt(NOW + 15_000));
    const queued = typeof transition === "object" ? transition.task : expect.fail("not due");
    expect(claim(queued, "long", NOW + 20_000).task).toMatchObject({
      attempt: 1,
      attempt_started_at_ms: NOW + 20_000,
    });
  });
});

test("however often it is handed over and however long it waits, an attempt is as old as it has run", () => {
  const leg = fc.record({
    runsMs: fc.nat(900_000),
    sleepsMs: fc.constantFrom(null, -1, 0, 1, 500, 86_400_000),
    waitsMs: fc.oneof(fc.constant(0), fc.nat(100_000_000)),
  });
  const property = fc.property(fc.array(leg, { maxLength: 20 }), (legs) => {
    let nowMs = NOW;
    let ranMs = 0;
    let task = started(nowMs);
    for (const { runsMs, sleepsMs, waitsMs } of legs) {
      nowMs += runsMs;
      ranMs += runsMs;
      const outcome: Outcome =
        sleepsMs === null ? { kind: "not-begun" } : { kind: "handed-over", notBeforeMs: nowMs + sleepsMs };
      const queued = releasedAt(nowMs, task, outcome);
      nowMs += Math.max(sleepsMs ?? RUNNER_RETRY_MS, 0) + waitsMs;
      task = claim(queued, "long", nowMs).task;
      expect(nowMs - (task.attempt_started_at_ms ?? 0)).toBe(ranMs);
    }
    expect(task.attempt).toBe(1);
  });
  fc.assert(property, { numRuns: 1_000 });
});
