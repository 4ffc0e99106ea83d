/** Any cron pattern, and time zones with all kinds of changes of the clock. */
import * as fc from "fast-check";

export const MINUTE_MS = 60_000;

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
export const patterns = fc
  .tuple(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6))
  .map((fields) => fields.join(" "));
export const zones = fc.constantFrom(
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "Asia/Kolkata",
  "Australia/Lord_Howe",
  "Africa/Casablanca",
  "America/Sao_Paulo",
);
