import { describe, expect, test } from "vitest";
import {
  isParkedBy,
  MAX_KEPT_SIGNALS,
  MAX_SIGNAL_BYTES,
  MAX_SIGNALS,
  onSignal,
  onWait,
} from "../../../src/tasks/ledger/wait-rules.ts";
import { MAX_DURATION_MS } from "../../../src/tasks/types/duration.ts";

describe("a wait", () => {
  test.each([
    [11, false, { is: "waiting", untilMs: 11 }],
    [10, false, { is: "timed-out" }],
    [9, false, { is: "timed-out" }],
    // A signal that was there in time is received, however late its task comes to it.
    [9, true, { is: "received" }],
    [11, true, { is: "received" }],
    [Number.POSITIVE_INFINITY, false, { is: "waiting", untilMs: 10 + MAX_DURATION_MS }],
  ])("until %d, at 10, with a kept signal: %s", (untilMs, hasKept, outcome) => {
    expect(onWait(untilMs, hasKept, 10)).toEqual(outcome);
  });
});

describe("a signal", () => {
  const room = { kept: 0, total: 0, bytes: 0 };
  test.each([
    [room, 4, true, "received"],
    [room, 4, false, "kept"],
    [{ ...room, kept: MAX_KEPT_SIGNALS - 1, total: MAX_KEPT_SIGNALS - 1 }, 4, false, "kept"],
    [{ ...room, kept: MAX_KEPT_SIGNALS, total: MAX_KEPT_SIGNALS }, 4, false, "full"],
    [{ ...room, kept: MAX_KEPT_SIGNALS, total: MAX_KEPT_SIGNALS }, 4, true, "received"],
    [{ ...room, total: MAX_SIGNALS - 1 }, 4, true, "received"],
    [{ ...room, total: MAX_SIGNALS }, 4, true, "full"],
    [{ ...room, total: 1, bytes: MAX_SIGNAL_BYTES - 4 }, 4, true, "received"],
    [{ ...room, total: 1, bytes: MAX_SIGNAL_BYTES - 4 }, 5, true, "full"],
  ])("with %j, of %i bytes, awaited: %s", (had, bytes, isAwaited, outcome) => {
    expect(onSignal(had, bytes, isAwaited)).toBe(outcome);
  });
});

test.each([
  ["scheduled", 3, 3, true],
  ["scheduled", 3, 2, false],
  ["scheduled", 3, null, false],
  ["running", 3, 3, false],
  ["queued", 3, 3, false],
] as const)(
  "a task that is %s under token %d, parked by %s, is woken: %s",
  (status, token, parked, wakes) => {
    expect(isParkedBy({ status, token }, parked)).toBe(wakes);
  },
);
