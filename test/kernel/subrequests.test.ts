/** Subrequests are counted for the code that makes them, and their end is announced while some are left. */
import { describe, expect, test } from "vitest";
import {
  countedBy,
  countSubrequests,
  isSubrequestLimit,
  SubrequestCount,
} from "../../src/kernel/subrequests.ts";

describe("a count", () => {
  test.each([
    ["external ones", { external: 1 }, 900],
    ["internal ones", { internal: 1 }, 9_950],
    ["both", { external: 1, internal: 9 }, 900],
  ])("of %s is low when only the reserve is left", (_, made, times) => {
    const count = new SubrequestCount({ external: 950, total: 10_000 });
    expect(count.isLow).toBe(false);
    let lows = 0;
    count.watch(() => lows++);
    countedBy(count, () => {
      for (let n = 1; n < times; n++) countSubrequests(made);
      expect([count.isLow, lows]).toEqual([false, 0]);
      for (let n = 0; n < 3; n++) countSubrequests(made);
    });
    expect([count.isLow, lows]).toEqual([true, 1]);
  });

  test("keeps a tenth of a small limit", () => {
    const count = new SubrequestCount({ external: 50, total: 1_000 });
    count.add(44, 0);
    expect(count.isLow).toBe(false);
    count.add(1, 0);
    expect(count.isLow).toBe(true);
  });

  test("that is low says so at once, and not to those that no longer watch", () => {
    const count = new SubrequestCount({ external: 10, total: 100 });
    const heard: string[] = [];
    count.watch(() => heard.push("gone"))();
    count.add(9, 0);
    count.watch(() => heard.push("late"));
    expect(heard).toEqual(["late"]);
  });

  test("is of the code that it is for, however that goes on, and of no other", async () => {
    const counts = [1, 2].map(() => new SubrequestCount({ external: 10, total: 10 }));
    await Promise.all(
      counts.map(async (count, n) =>
        countedBy(count, async () => {
          await scheduler.wait(1);
          await new Promise<void>((resolve) => {
            setTimeout(() => {
              countSubrequests({ external: n === 0 ? 9 : 1 });
              resolve();
            }, 1);
          });
        }),
      ),
    );
    countSubrequests({ external: 100 });
    expect(counts.map(({ isLow }) => isLow)).toEqual([true, false]);
  });
});

test.each([
  ["Too many subrequests by single Worker invocation.", true],
  ["Too many API requests by single worker invocation.", true],
  ["Subrequest depth limit exceeded.", false],
  ["no", false],
])("the platform's error is known by its message: %s", (message, isLimit) => {
  expect(isSubrequestLimit(new Error(message))).toBe(isLimit);
  expect(isSubrequestLimit(new TypeError("a call failed", { cause: new Error(message) }))).toBe(isLimit);
  expect(isSubrequestLimit(message)).toBe(false);
});
