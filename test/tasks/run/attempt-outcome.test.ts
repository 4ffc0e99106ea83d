import { describe, expect, test } from "vitest";
import { outcomeOf } from "../../../src/tasks/run/attempt.ts";
import { Interruption } from "../../../src/tasks/run/run.ts";
import { NonRetryableError, PostponedError, RetryLaterError } from "../../../src/tasks/types/define.ts";

type Ending = Parameters<typeof outcomeOf>[0];

const returned: Ending = { kind: "returned", result: 7 };
const threw: Ending = { kind: "threw", error: new RangeError("odd") };
const threwForGood: Ending = { kind: "threw", error: new NonRetryableError("hopeless") };
const threwForLater: Ending = { kind: "threw", error: new RetryLaterError("busy", 7_000) };
const postponed: Ending = { kind: "threw", error: new PostponedError("no permit", 9_000) };
const abandoned: Ending = { kind: "abandoned" };

const lost = new Interruption("lost", "gone");
const cancelled = new Interruption("cancelled", "no more");
const timeout = new Interruption("timeout", "too long");
const handOver = new Interruption("hand-over", "elsewhere");
const asleep = new Interruption("hand-over", "it sleeps", 5_000);

const succeeded = { kind: "succeeded", result: "7" };
const failed = (name: string, message: string, isFinal = false) => ({
  kind: "failed",
  error: { name, message },
  isFinal,
});
const handedOver = (notBeforeMs: number) => ({ kind: "handed-over", notBeforeMs });

describe("the outcome of a run whose code", () => {
  test.each<[string, Ending, Interruption | undefined, unknown]>([
    ["returned", returned, undefined, succeeded],
    ["threw", threw, undefined, failed("RangeError", "odd")],
    ["threw for good", threwForGood, undefined, failed("NonRetryableError", "hopeless", true)],
    [
      "threw, and said when to retry",
      threwForLater,
      undefined,
      { ...failed("RetryLaterError", "busy"), notBeforeMs: 7_000 },
    ],
    ["was postponed", postponed, undefined, handedOver(9_000)],
    ["was postponed, after a cancel", postponed, cancelled, failed("Cancelled", "no more")],

    // A run that has lost its claim reports nothing, whatever its code did.
    ["returned, after the claim was lost", returned, lost, undefined],
    ["threw, after the claim was lost", threw, lost, undefined],
    ["was abandoned, after the claim was lost", abandoned, lost, undefined],

    // The work is done: an earlier interruption changes nothing.
    ["returned, after a cancel", returned, cancelled, succeeded],
    ["returned, after a timeout", returned, timeout, succeeded],
    ["returned, after a hand-over was due", returned, handOver, succeeded],

    ["threw, after a cancel", threw, cancelled, failed("Cancelled", "no more")],
    ["was abandoned, after a cancel", abandoned, cancelled, failed("Cancelled", "no more")],
    ["threw, after a timeout", threw, timeout, failed("TimeoutError", "too long")],
    ["was abandoned, after a timeout", abandoned, timeout, failed("TimeoutError", "too long")],

    ["threw, after a hand-over was due", threw, handOver, handedOver(0)],
    ["was abandoned, after a hand-over was due", abandoned, handOver, handedOver(0)],

    ["threw, in a long sleep", threw, asleep, handedOver(5_000)],
    ["was abandoned, in a long sleep", abandoned, asleep, handedOver(5_000)],
    // The code caught what its sleep threw: its result came too early.
    ["returned, in a long sleep", returned, asleep, handedOver(5_000)],
  ])("%s", (_name, ending, interruption, outcome) => {
    expect(outcomeOf(ending, interruption)).toEqual(outcome);
  });

  test.each([
    ["nothing", undefined, { kind: "succeeded", result: "null" }],
    ["a value that is not JSON", () => 1, { kind: "failed", isFinal: true }],
    [
      "a value that is not JSON somewhere",
      { items: [{ when: new Map() }] },
      {
        kind: "failed",
        error: { message: expect.stringContaining("result.items[0].when: a Map") },
        isFinal: true,
      },
    ],
  ])("returned %s", (_name, result, outcome) => {
    expect(outcomeOf({ kind: "returned", result }, undefined)).toMatchObject(outcome);
  });
});

test("no error puts a task off for more than a year, or until a time that is none", () => {
  const untilOf = (notBeforeMs: number) => {
    const outcome = outcomeOf({ kind: "threw", error: new PostponedError("", notBeforeMs) }, undefined);
    return outcome?.kind === "handed-over" ? outcome.notBeforeMs : undefined;
  };
  expect(untilOf(Number.NaN)).toBe(0);
  expect(untilOf(Number.POSITIVE_INFINITY)).toBe(0);
  expect(untilOf(Number.MAX_SAFE_INTEGER)).toBeLessThan(Date.now() + 367 * 86_400_000);
});
