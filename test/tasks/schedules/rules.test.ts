/** When a schedule runs: invalid patterns, changes of the clock, and what happens to every tick. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decideTick,
  MAX_COUNTED,
  MAX_WAITING,
  nextRuns,
  runKey,
  type ScheduleState,
  timingError,
} from "../../../src/tasks/schedules/rules.ts";

const NOW = Date.UTC(2030, 0, 1, 12);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe("a timing", () => {
  test.each([
    ["* * * * *", "UTC"],
    ["*/15 9-17 * * MON-FRI", "Europe/Berlin"],
    ["0 0 29 2 *", "UTC"],
    ["0 0 L * *", "Asia/Kolkata"],
    ["0 8 * * FRI#2", "America/New_York"],
    ["0 0 * * 7", "Etc/GMT+5"],
    ["0 0 * * *", "US/Pacific"],
    ["0 0 * * *", "EST5EDT"],
    ["  0  0 * * *  ", "europe/berlin"],
  ])("may be %j in %s", (cron, timeZone) => {
    expect(timingError({ cron, timeZone }, NOW)).toBeUndefined();
  });

  test.each([
    ["60 * * * *", '"60" is not a valid minute'],
    ["* 24 * * *", '"24" is not a valid hour'],
    ["* * 0 * *", '"0" is not a valid day of the month'],
    ["* * * 13 *", '"13" is not a valid month'],
    ["* * * * 8", '"8" is not a valid day of the week'],
    ["a * * * *", '"a" is not a valid minute'],
    ["5/5 * * * *", '"5/5" is not a valid minute'],
    ["*/0 * * * *", '"*/0" is not a valid minute'],
    ["5-2 * * * *", '"5-2" is not a valid minute'],
    ["1,,2 * * * *", '"1,,2" is not a valid minute'],
    ["* * * * * *", "5 fields"],
    ["* * * *", "this has 4"],
    ["", "this has none"],
    ["@daily", "this has 1"],
    ["2030-06-01T00:00:00", "this has 1"],
    ["0 0 30 2 *", "it would never run"],
    ["0 0 31 4,6,9,11 *", "it would never run"],
    ["0 0 30 2 +1", "it would never run"],
  ])("must not be %j: the message says what is wrong", (cron, detail) => {
    const error = timingError({ cron, timeZone: "UTC" }, NOW);
    expect(error).toEqual({ at: "cron", detail: expect.stringContaining(detail) });
  });

  test.each(["Mars/Olympus", "", "+02:00", " UTC", "Europe/Berlin ", "BST", "ist", "SystemV/PST8"])(
    "must not be in %j",
    (timeZone) => {
      const error = timingError({ cron: "* * * * *", timeZone }, NOW);
      expect(error).toEqual({
        at: "timeZone",
        detail: expect.stringContaining(`"${timeZone}" is not a time zone`),
      });
    },
  );

  test("is either valid or rejected, whatever the text is", () => {
    const text = fc.string({ maxLength: 30 });
    const cronish = fc.array(fc.constantFrom(..."0 1 2 3 4 5 6 7 8 9 * / - , # L W ? +".split(" "), " "), {
      maxLength: 20,
    });
    const any = fc.oneof(
      text,
      cronish.map((letters) => letters.join("")),
    );
    fc.assert(
      fc.property(any, any, (cron, timeZone) => {
        timingError({ cron, timeZone }, NOW);
        const error = timingError({ cron, timeZone: "UTC" }, NOW);
        if (error === undefined) expect(nextRuns({ cron, timeZone: "UTC" }, 1, NOW)).toHaveLength(1);
      }),
      { numRuns: 300 },
    );
  });
});

/** Ticks after a time, in UTC, to the minute. */
const ticks = (cron: string, timeZone: string, after: string, n: number) =>
  nextRuns({ cron, timeZone }, n, Date.parse(after)).map((ms) => new Date(ms).toISOString().slice(0, 16));

describe("the clock", () => {
  test("gives the ticks after a time, not at it, all on whole minutes", () => {
    const first = (after: string) => ticks("* * * * *", "UTC", after, 1);
    expect(first("2030-01-01T11:59:59.999Z")).toEqual(["2030-01-01T12:00"]);
    expect(first("2030-01-01T12:00:00.000Z")).toEqual(["2030-01-01T12:01"]);
    expect(first("2030-01-01T12:00:00.001Z")).toEqual(["2030-01-01T12:01"]);
  });

  test.each([
    ["Europe/Berlin", "2027-03-26T12:00Z", ["2027-03-27T01:30", "2027-03-28T01:00", "2027-03-29T00:30"]],
    ["America/New_York", "2027-03-13T00:00Z", ["2027-03-13T07:30", "2027-03-14T07:00", "2027-03-15T06:30"]],
  ])("in %s skips 02:30 in spring: that day's run is right after the gap", (zone, after, expected) => {
    expect(ticks("30 2 * * *", zone, after, 3)).toEqual(expected);
  });

  test("skips one of two times of a list, which still has two runs that day", () => {
    const expected = ["2027-03-28T01:00", "2027-03-28T12:30", "2027-03-29T00:30"];
    expect(ticks("30 2,14 * * *", "Europe/Berlin", "2027-03-28T00:00Z", 3)).toEqual(expected);
  });

  test.each([
    ["Europe/Berlin", "30 2 * * *", "2027-10-30T12:00Z", ["2027-10-31T00:30", "2027-11-01T01:30"]],
    ["America/New_York", "30 1 * * *", "2027-11-06T12:00Z", ["2027-11-07T05:30", "2027-11-08T06:30"]],
    ["Australia/Lord_Howe", "45 1 * * *", "2027-04-03T00:00Z", ["2027-04-03T14:45", "2027-04-04T15:15"]],
  ])("in %s shows a time twice in autumn: the first one runs", (zone, cron, after, expected) => {
    expect(ticks(cron, zone, after, 2)).toEqual(expected);
  });

  test.each([
    ["Europe/Berlin", "2027-03-28", "2027-10-31"],
    ["Australia/Lord_Howe", "2027-04-04", "2027-10-03"],
  ])(
    "in %s does not affect an interval: every half hour stays every half hour, all year",
    (zone, ...changes) => {
      const every = (cron: string, n: number, afterMs: number) =>
        nextRuns({ cron, timeZone: zone }, n, afterMs);
      const gaps = (times: number[]) => new Set(times.slice(1).map((ms, i) => ms - (times[i] ?? 0)));
      // The days around each change in full, and of every day of the year the hours in which clocks change.
      for (const day of changes)
        expect(gaps(every("*/30 * * * *", 2 * 24 * 4, Date.parse(day) - 48 * HOUR))).toEqual(
          new Set([HOUR / 2]),
        );
      for (let day = 0; day < 365; day++) {
        const night = Date.UTC(2027, 0, 1 + day, zone === "Europe/Berlin" ? 0 : 14);
        expect(every("*/30 * * * *", 4, night)).toEqual([1, 2, 3, 4].map((n) => night + (n * HOUR) / 2));
      }
    },
  );

  test("is half an hour off in some zones, and moves by half an hour in one", () => {
    expect(ticks("0 9 * * *", "Asia/Kolkata", "2030-01-01T00:00Z", 1)).toEqual(["2030-01-01T03:30"]);
    expect(ticks("15 2 * * *", "Australia/Lord_Howe", "2027-10-02T00:00Z", 2)).toEqual([
      "2027-10-02T15:30", // 02:15 is skipped: it runs at 02:30
      "2027-10-03T15:15",
    ]);
  });

  test("knows leap days, even those that fall on a Monday", () => {
    expect(ticks("0 0 29 2 *", "UTC", "2030-01-01T00:00Z", 2)).toEqual([
      "2032-02-29T00:00",
      "2036-02-29T00:00",
    ]);
    expect(ticks("0 0 29 2 *", "UTC", "2096-03-01T00:00Z", 1)).toEqual(["2104-02-29T00:00"]);
    expect(ticks("0 0 29 2 +MON", "UTC", "2030-01-01T00:00Z", 1)).toEqual(["2044-02-29T00:00"]);
  });

  test("with both a day of the month and a day of the week, runs on either", () => {
    const expected = ["2030-01-04T00:00", "2030-01-11T00:00", "2030-01-13T00:00"];
    expect(ticks("0 0 13 * FRI", "UTC", "2030-01-01T12:00Z", 3)).toEqual(expected);
  });
});

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

  test("has a key of its own", () => {
    expect(runKey("nightly", NOW)).toBe(`schedule:nightly@${NOW}`);
  });
});

/** A field of a pattern: any, a step, a number, a range, a list. */
function field(min: number, max: number): fc.Arbitrary<string> {
  const number = fc.integer({ min, max });
  return fc.oneof(
    fc.constant("*"),
    fc.integer({ min: 1, max: max - min + 1 }).map((step) => `*/${step}`),
    number.map(String),
    fc.tuple(number, number).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
    fc.tuple(number, number).map((both) => both.join(",")),
  );
}

// Days to 28: every pattern then has a tick each year.
const patterns = fc
  .tuple(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6))
  .map((fields) => fields.join(" "));
const zones = fc.constantFrom(
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "Asia/Kolkata",
  "Australia/Lord_Howe",
  "Africa/Casablanca",
  "America/Sao_Paulo",
);

describe("for any pattern, zone and moment", () => {
  test("ticks are in order, unique, on whole minutes, and consistent from any start", () => {
    fc.assert(
      fc.property(
        patterns,
        zones,
        fc.integer({ min: NOW, max: NOW + 8760 * HOUR }),
        (cron, timeZone, after) => {
          const all = nextRuns({ cron, timeZone }, 4, after);
          expect(all).toHaveLength(4);
          expect(all).toEqual([...new Set(all)].toSorted((a, b) => a - b));
          expect(all.every((ms) => ms > after && ms % MINUTE === 0)).toBe(true);
          expect(nextRuns({ cron, timeZone }, 1, all[1] ?? 0)).toEqual([all[2]]);
        },
      ),
      { numRuns: 300 },
    );
  });

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
