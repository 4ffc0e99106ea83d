/** When a schedule runs: what happens to every tick, and to the next one when a schedule changes. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextRuns } from "../../../src/tasks/schedules/pattern.ts";
import {
  decideTick,
  hasRoom,
  MAX_COUNTED,
  MAX_RUNS,
  MAX_WAITING,
  NEVER_MS,
  nextAfterChange,
  type Run,
  runKey,
  type ScheduleState,
  withRun,
} from "../../../src/tasks/schedules/rules.ts";
import { patterns, zones } from "../../support/cron.ts";

const NOW = Date.UTC(2030, 0, 1, 12);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const state = (more: Partial<ScheduleState> = {}): ScheduleState => ({
  cron: "0 * * * *",
  timeZone: "UTC",
  overlap: "skip",
  missed: "run_once",
  nextAtMs: NOW,
  waiting: 0,
  isBusy: false,
  ...more,
});

describe("a tick", () => {
  test("is not decided before its time", () => {
    expect(decideTick(state(), NOW - 1)).toEqual({ takeAtMs: null, skipped: 0, missed: 0, nextAtMs: NOW });
  });

  test.each([0, 1, 59_000, 60_000])("is taken when %i ms late, whatever the policy", (lateMs) => {
    for (const missed of ["run_once", "skip"] as const) {
      const decision = decideTick(state({ missed }), NOW + lateMs);
      expect(decision).toEqual({ takeAtMs: NOW, skipped: 0, missed: 0, nextAtMs: NOW + HOUR });
    }
  });

  test("is missed when 61 s late: the policy says whether it still runs", () => {
    const late = NOW + 61_000;
    const none = { skipped: 0, nextAtMs: NOW + HOUR };
    expect(decideTick(state({ missed: "run_once" }), late)).toEqual({ ...none, takeAtMs: NOW, missed: 0 });
    expect(decideTick(state({ missed: "skip" }), late)).toEqual({ ...none, takeAtMs: null, missed: 1 });
  });

  test("runs once for all that were missed before it", () => {
    const late = NOW + 5 * HOUR + 120_000;
    const none = { skipped: 0, nextAtMs: NOW + 6 * HOUR };
    expect(decideTick(state(), late)).toEqual({ ...none, takeAtMs: NOW + 5 * HOUR, missed: 5 });
    expect(decideTick(state({ missed: "skip" }), late)).toEqual({ ...none, takeAtMs: null, missed: 6 });
  });

  test("that is on time is taken even if those before it were missed", () => {
    const decision = decideTick(state({ missed: "skip" }), NOW + 5 * HOUR + 30_000);
    expect(decision).toMatchObject({ takeAtMs: NOW + 5 * HOUR, missed: 5 });
  });

  test("costs no more than the ticks before it: patterns that rarely match are not searched for a hundred more", () => {
    const nextAtMs = Date.UTC(2024, 1, 29);
    const rare = state({ cron: "0 0 29 2 *", nextAtMs });
    const decision = decideTick(rare, Date.UTC(2028, 1, 29, 1));
    expect(decision).toMatchObject({ takeAtMs: Date.UTC(2028, 1, 29), missed: 1 });
    const never = state({ cron: "0 0 29 2 +MON", nextAtMs: Date.UTC(2016, 1, 29) });
    expect(decideTick(never, Date.UTC(2044, 1, 29, 1))).toMatchObject({ missed: 1 });
  });

  test("from years ago costs no more than one from today", () => {
    const decision = decideTick(state({ cron: "* * * * *", nextAtMs: NOW - 10 * 365 * 24 * HOUR }), NOW);
    expect(decision).toEqual({ takeAtMs: NOW, skipped: 0, missed: MAX_COUNTED, nextAtMs: NOW + MINUTE });
  });

  test.each([
    ["skip", { isBusy: false, waiting: 0 }, "taken"],
    ["skip", { isBusy: true, waiting: 0 }, "skipped"],
    ["skip", { isBusy: false, waiting: 1 }, "skipped"],
    ["queue", { isBusy: true, waiting: 0 }, "taken"],
    ["queue", { isBusy: true, waiting: MAX_WAITING - 1 }, "taken"],
    ["queue", { isBusy: true, waiting: MAX_WAITING }, "skipped"],
  ] as const)("under %s with %j is %s", (overlap, now, expected) => {
    const { takeAtMs, skipped, nextAtMs } = decideTick(state({ overlap, ...now }), NOW);
    expect([takeAtMs, skipped]).toEqual(expected === "taken" ? [NOW, 0] : [null, 1]);
    expect(nextAtMs).toBe(NOW + HOUR);
  });

  test("of a paused schedule never comes", () => {
    const decision = decideTick(state({ nextAtMs: NEVER_MS }), NOW + 8760 * HOUR);
    expect(decision).toEqual({ takeAtMs: null, skipped: 0, missed: 0, nextAtMs: NEVER_MS });
  });

  test("has a key of its own", () => {
    expect(runKey("nightly", NOW)).toBe(`schedule:nightly@${NOW}`);
  });
});

describe("when a schedule changes", () => {
  const timing = { cron: "0 * * * *", timeZone: "UTC" };
  const next = (before: number | undefined, spec: Parameters<typeof nextAfterChange>[1], nowMs = NOW + 1) =>
    nextAfterChange(before === undefined ? undefined : { ...timing, nextAtMs: before }, spec, nowMs);

  test.each([
    ["a new one runs at the first tick from now on", undefined, timing, NOW + HOUR],
    ["a tick that is due stays due, if the timing stays", NOW, timing, NOW],
    [
      "with another pattern, it runs at the first tick of that",
      NOW,
      { ...timing, cron: "30 * * * *" },
      NOW + HOUR / 2,
    ],
    ["and so with another zone", NOW, { ...timing, timeZone: "Asia/Kolkata" }, NOW + HOUR / 2],
    ["a pause leaves it no tick", NOW, { ...timing, paused: true }, NEVER_MS],
    ["nor has one that is made paused", undefined, { ...timing, paused: true }, NEVER_MS],
    ["the ticks of a pause are gone after it", NEVER_MS, { ...timing, paused: false }, NOW + HOUR],
  ] as const)("%s", (_, before, spec, expected) => {
    expect(next(before, spec)).toBe(expected);
  });

  test("to a pattern without a future, that is an error, but a pause is none", () => {
    const never = { ...timing, cron: "0 0 30 2 *" };
    expect(() => next(NOW, never)).toThrow("No future day");
    expect(next(NOW, { ...never, cron: "nonsense", paused: true })).toBe(NEVER_MS);
  });
});

test("the latest runs are remembered, each once, newest first, whatever is repeated", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40), { maxLength: 60 }), (ticks) => {
      const runs = ticks.reduce<Run[]>((known, tick) => withRun(known, [tick, `t${tick}`, NOW]), []);
      expect(runs.length).toBeLessThanOrEqual(MAX_RUNS);
      expect(new Set(runs.map(([tick]) => tick)).size).toBe(runs.length);
      const latest = ticks.at(-1);
      if (latest !== undefined) expect(runs.some(([tick]) => tick === latest)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("a run by hand has room wherever a tick would be taken", () => {
  const anyState = fc.record({
    overlap: fc.constantFrom("skip", "queue"),
    waiting: fc.constantFrom(0, 1, MAX_WAITING - 1, MAX_WAITING),
    isBusy: fc.boolean(),
  });
  fc.assert(
    fc.property(anyState, (some) => {
      expect(hasRoom(some)).toBe(decideTick(state(some), NOW).takeAtMs !== null);
    }),
  );
});

describe("for any pattern, zone and moment", () => {
  test("each tick up to now is taken, skipped or missed, and the next is the first after now", () => {
    const anyState = fc.record({
      cron: patterns,
      timeZone: zones,
      overlap: fc.constantFrom("skip", "queue"),
      missed: fc.constantFrom("run_once", "skip"),
      waiting: fc.constantFrom(0, 1, MAX_WAITING - 1, MAX_WAITING),
      isBusy: fc.boolean(),
    });
    const since = fc.integer({ min: NOW, max: NOW + 8760 * HOUR });
    fc.assert(
      fc.property(
        anyState,
        since,
        fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 20 })),
        fc.nat(200_000),
        (some, start, n, lateMs) => {
          const all = nextRuns(some, n + 2, start);
          const [nextAtMs = 0] = all;
          const latest = all[n] ?? 0;
          const nowMs = Math.min(latest + lateMs, (all[n + 1] ?? 0) - 1);
          const decision = decideTick({ ...some, nextAtMs }, nowMs);
          expect(decision.nextAtMs).toBe(all[n + 1]);
          const taken = decision.takeAtMs === null ? 0 : 1;
          expect(taken + decision.skipped + decision.missed).toBe(n + 1);
          if (taken === 1) expect(decision.takeAtMs).toBe(latest);
          const runs = nowMs - latest <= MINUTE || some.missed === "run_once";
          expect(taken + decision.skipped).toBe(runs ? 1 : 0);
        },
      ),
      { numRuns: 300 },
    );
  });
});
