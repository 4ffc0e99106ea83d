import { describe, expect, test } from "vitest";
import { outcomeOf } from "../../../src/tasks/run/attempt.ts";
import { Interruption } from "../../../src/tasks/run/run.ts";
import { NonRetryableError } from "../../../src/tasks/types/define.ts";

type Ending = Parameters<typeof outcomeOf>[0];

const DIES_AT_MS = 9_000;
const returned: Ending = { kind: "returned", result: 7 };
const threw: Ending = { kind: "threw", error: new RangeError("odd") };
const threwForGood: Ending = { kind: "threw", error: new NonRetryableError("hopeless") };
const abandoned: Ending = { kind: "abandoned" };

const lost = new Interruption("lost", "gone");
const cancelled = new Interruption("cancelled", "no more");
const timeout = new Interruption("timeout", "too long");
const handOver = new Interruption("hand-over", "elsewhere");
const asleep = new Interruption("hand-over", "it sleeps", 5_000);
const longAsleep = new Interruption("hand-over", "it sleeps", 12_000);

const succeeded = { kind: "succeeded", result: "7" };
const failed = (name: string, message: string, isFinal = false) => ({
  kind: "failed",
  error: { name, message },
  isFinal,
});
const WHILE_IT_LIVES = { notBeforeMs: DIES_AT_MS };
const handedOver = (notBeforeMs: number) => ({ kind: "handed-over", notBeforeMs });

describe("what is reported of a run", () => {
  test.each<[string, Ending, Interruption | undefined, unknown]>([
    ["returned", returned, undefined, succeeded],
    ["threw", threw, undefined, failed("RangeError", "odd")],
    ["threw for good", threwForGood, undefined, failed("NonRetryableError", "hopeless", true)],

    // Who has lost the claim has nothing to say, whatever its code did.
    ["returned, claim lost", returned, lost, undefined],
    ["threw, claim lost", threw, lost, undefined],
    ["given up, claim lost", abandoned, lost, undefined],

    // The work is done: that it was to end before changes nothing.
    ["returned, cancelled meanwhile", returned, cancelled, succeeded],
    ["returned, after its time", returned, timeout, succeeded],
    ["returned, to be handed over", returned, handOver, succeeded],

    ["threw, cancelled", threw, cancelled, failed("Cancelled", "no more")],
    ["given up, cancelled", abandoned, cancelled, { ...failed("Cancelled", "no more"), ...WHILE_IT_LIVES }],
    ["threw, after its time", threw, timeout, failed("TimeoutError", "too long")],
    // It may be at work as long as it lives: not retried before.
    [
      "given up, after its time",
      abandoned,
      timeout,
      { ...failed("TimeoutError", "too long"), ...WHILE_IT_LIVES },
    ],

    ["threw, to be handed over", threw, handOver, handedOver(0)],
    ["given up, to be handed over: not while it may be at work", abandoned, handOver, handedOver(DIES_AT_MS)],

    ["threw, asleep", threw, asleep, handedOver(5_000)],
    ["given up, asleep for less than it lives", abandoned, asleep, handedOver(DIES_AT_MS)],
    ["given up, asleep for longer than it lives", abandoned, longAsleep, handedOver(12_000)],
    // It has caught what its sleep threw: what it returned was not to be returned yet.
    ["returned, asleep", returned, asleep, handedOver(5_000)],
  ])("%s", (_name, ending, interruption, outcome) => {
    const interrupt = new AbortController();
    if (interruption) interrupt.abort(interruption);
    expect(outcomeOf(ending, interrupt.signal, DIES_AT_MS)).toEqual(outcome);
  });

  test.each([
    ["nothing", undefined, { kind: "succeeded", result: "null" }],
    ["what is not JSON", () => 1, { kind: "failed", isFinal: true }],
  ])("returned %s", (_name, result, outcome) => {
    const { signal } = new AbortController();
    expect(outcomeOf({ kind: "returned", result }, signal, 0)).toMatchObject(outcome);
  });
});
