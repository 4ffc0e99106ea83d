/** Cron patterns: what is valid, the form in which they are kept, and changes of the clock. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextRuns, normalizePattern, timingError } from "../../../src/tasks/schedules/pattern.ts";
import { MINUTE_MS, patterns, zones } from "../../support/cron.ts";

const NOW = Date.UTC(2030, 0, 1, 12);
const HOUR = 60 * MINUTE_MS;

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
    ["@reboot", '"@reboot" is not one of @hourly, @daily'],
    ["@every 5m", "is not one of @hourly"],
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

describe("a nickname", () => {
  test.each([
    ["@hourly", "0 * * * *"],
    ["@daily", "0 0 * * *"],
    ["@midnight", "0 0 * * *"],
    ["@weekly", "0 0 * * 0"],
    ["@monthly", "0 0 1 * *"],
    ["@yearly", "0 0 1 1 *"],
    ["@annually", "0 0 1 1 *"],
    ["  @Daily ", "0 0 * * *"],
  ])("%s stands for %s, in every zone", (nickname, cron) => {
    expect(timingError({ cron: nickname, timeZone: "UTC" }, NOW)).toBeUndefined();
    for (const timeZone of ["UTC", "Europe/Berlin", "Africa/Cairo"])
      expect(nextRuns({ cron: nickname, timeZone }, 20, NOW)).toEqual(nextRuns({ cron, timeZone }, 20, NOW));
    expect(normalizePattern(nickname)).toBe(nickname.trim().toLowerCase());
  });

  test("@daily runs right after a midnight that the clock skips", () => {
    // Cairo goes from 23:59 to 01:00.
    expect(ticks("@daily", "Africa/Cairo", "2027-04-29T00:00Z", 2)).toEqual([
      "2027-04-29T22:00",
      "2027-04-30T21:00",
    ]);
  });
});

describe("the names of months and days", () => {
  test.each([
    ["0 0 * January Monday", "0 0 * JAN MON"],
    ["0 0 * january-MARCH,May tuesday,Fri", "0 0 * JAN-MAR,MAY TUE,Fri"],
    ["0 0 * * Wednesday#2", "0 0 * * WED#2"],
    ["0 0 * * FridayL", "0 0 * * FRIL"],
    ["0 0 13 * +Friday", "0 0 13 * +FRI"],
    ["  0  0 * *   SUN ", "0 0 * * SUN"],
  ])("%s is kept as %s", (cron, kept) => {
    expect(normalizePattern(cron)).toBe(kept);
    for (const text of [cron, kept])
      expect(timingError({ cron: text, timeZone: "UTC" }, NOW)).toBeUndefined();
    expect(nextRuns({ cron, timeZone: "UTC" }, 9, NOW)).toEqual(
      nextRuns({ cron: kept, timeZone: "UTC" }, 9, NOW),
    );
  });

  test.each(["0 0 * Janu *", "0 0 January * *", "0 0 * Monday *", "0 0 * * Mondays", "0 0 * * Mon Tue"])(
    "%s is not valid",
    (cron) => {
      expect(timingError({ cron, timeZone: "UTC" }, NOW)).toMatchObject({ at: "cron" });
    },
  );
});

describe("of the two day fields", () => {
  const days = (cron: string) => ticks(cron, "UTC", "2030-01-01T12:00Z", 4).map((time) => time.slice(5, 10));

  test("either has to fit, if both say something", () => {
    expect(days("0 0 13 * FRI")).toEqual(["01-04", "01-11", "01-13", "01-18"]);
    // A step says something, even one that begins with a star.
    expect(days("0 0 */10 * FRI")).toEqual(["01-04", "01-11", "01-18", "01-21"]);
  });

  test("only the other counts, if one is * or ?", () => {
    expect(days("0 0 13 * *")).toEqual(days("0 0 13 * ?"));
    expect(days("0 0 * * FRI")).toEqual(["01-04", "01-11", "01-18", "01-25"]);
    expect(days("0 0 ? * FRI")).toEqual(days("0 0 * * FRI"));
  });

  test("both have to fit, with a + before the second", () => {
    expect(days("0 0 13 * +FRI")).toEqual(["09-13", "12-13", "06-13", "02-13"]);
    expect(days("0 0 1-7 * +MON")).toEqual(["01-07", "02-04", "03-04", "04-01"]);
  });
});

describe("for any pattern, zone and moment", () => {
  const names = "January February March April May June July August September October November December".split(
    " ",
  );

  test("a pattern is kept in one form, which runs at the same times", () => {
    fc.assert(
      fc.property(patterns, zones, fc.integer({ min: 1, max: 12 }), (cron, timeZone, month) => {
        const fields = cron.split(" ");
        const [named, numbered] = [names[month - 1], month].map((name) =>
          fields.with(3, String(name)).join("  "),
        );
        const kept = normalizePattern(String(named));
        expect(normalizePattern(kept)).toBe(kept);
        const [a, b] = [kept, String(numbered)].map((text) => nextRuns({ cron: text, timeZone }, 2, NOW));
        expect(a).toEqual(b);
      }),
      { numRuns: 100 },
    );
  });

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
          expect(all.every((ms) => ms > after && ms % MINUTE_MS === 0)).toBe(true);
          expect(nextRuns({ cron, timeZone }, 1, all[1] ?? 0)).toEqual([all[2]]);
        },
      ),
      { numRuns: 300 },
    );
  });
});
