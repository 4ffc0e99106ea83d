/** Which sleep of an earlier run a sleep continues. */
import { describe, expect, test } from "vitest";
import { createSleepNames } from "../../../src/tasks/run/sleeps.ts";

const NOW = 1_800_000_000_000;

/** The sleeps of a run that found these records, and the names under which it records them. */
const namesOf = (attempt: number, steps: Record<string, string>, ...durations: number[]) => {
  const nameOf = createSleepNames(attempt, steps);
  return durations.map((ms) => nameOf(ms, NOW));
};

/** What the ledger has of sleeps with these names, which began a while ago. */
const recorded = (...names: string[]) => Object.fromEntries(names.map((name) => [name, String(NOW - 1e6)]));

describe("a sleep", () => {
  test("has a name of its own, made of its attempt, number and length", () => {
    expect(namesOf(2, {}, 15_000, 60_000, 15_000, 0.5)).toEqual([
      " sleep 2.1 15000",
      " sleep 2.2 60000",
      " sleep 2.3 15000",
      " sleep 2.4 0.5",
    ]);
  });

  test.each([1, 2])(
    "continues the one of its length, in whatever order they begin (attempt %i)",
    (attempt) => {
      const before = recorded(" sleep 1.1 15000", " sleep 1.2 60000", " sleep 1.3 15000");
      expect(namesOf(attempt, before, 60_000, 15_000, 15_000)).toEqual([
        " sleep 1.2 60000",
        " sleep 1.1 15000",
        " sleep 1.3 15000",
      ]);
    },
  );

  test("never takes the time of one that is much longer or shorter", () => {
    expect(namesOf(1, recorded(" sleep 1.1 60000"), 15_000, 60_000, 600_000)).toEqual([
      " sleep 1.2 15000",
      " sleep 1.1 60000",
      " sleep 1.3 600000",
    ]);
  });

  test("with jitter continues the closest one of its attempt", () => {
    const before = recorded(" sleep 1.1 61500", " sleep 1.2 5300");
    expect(namesOf(1, before, 5_100, 64_000, 62_000)).toEqual([
      " sleep 1.2 5300",
      " sleep 1.1 61500",
      " sleep 1.3 62000",
    ]);
  });

  test("with jitter begins anew in another attempt, which may do something else", () => {
    expect(namesOf(2, recorded(" sleep 1.1 61500"), 62_000)).toEqual([" sleep 2.1 62000"]);
  });

  test("until a given time continues the one that ends then, however much of it is left", () => {
    const before = { " sleep 1.1 3600000": String(NOW + 20), " sleep 1.2 40": String(NOW + 5_000) };
    expect(namesOf(1, before, 40.5, 4_990)).toEqual([" sleep 1.1 3600000", " sleep 1.2 40"]);
  });

  test("is not mistaken for a step that a task has named", () => {
    expect(namesOf(1, { "sleep 1.1 5": "1", one: "2", " sleep x": "3" }, 5)).toEqual([" sleep 1.1 5"]);
  });
});
