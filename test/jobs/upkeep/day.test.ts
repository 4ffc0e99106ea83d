import { expect, test } from "vitest";
import { dateAt, dayBefore, dayOf, hasBegun } from "../../../src/jobs/upkeep/day.ts";

const HOUR_MS = 3_600_000;

test.each([
  ["2026-11-26", "UTC", "2026-11-26T00:00:00.000Z", 24],
  ["2026-11-26", "Europe/Berlin", "2026-11-25T23:00:00.000Z", 24],
  ["2026-11-26", "Asia/Kolkata", "2026-11-25T18:30:00.000Z", 24],
  ["2026-11-26", "Pacific/Auckland", "2026-11-25T11:00:00.000Z", 24],
  ["2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00.000Z", 23],
  ["2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00.000Z", 25],
  ["2026-03-08", "America/Los_Angeles", "2026-03-08T08:00:00.000Z", 23],
])("%s in %s begins at %s and has %i hours", (date, timeZone, from, hours) => {
  const { fromMs, untilMs } = dayOf(date, timeZone);
  expect([new Date(fromMs).toISOString(), (untilMs - fromMs) / HOUR_MS]).toEqual([from, hours]);
  expect([dateAt(fromMs, timeZone), dateAt(fromMs - 1_000, timeZone)]).toEqual([date, dayBefore(date)]);
});

test("a day begins with its first moment in its time zone", () => {
  const { fromMs } = dayOf("2026-10-25", "Europe/Berlin");
  const begun = (atMs: number) => hasBegun("2026-10-25", "Europe/Berlin", atMs);
  expect([begun(fromMs - 1), begun(fromMs), begun(fromMs + 100 * HOUR_MS)]).toEqual([false, true, true]);
});

test("the day before the first of a month", () => {
  expect(["2026-03-01", "2024-03-01", "2026-01-01"].map(dayBefore)).toEqual([
    "2026-02-28",
    "2024-02-29",
    "2025-12-31",
  ]);
});
