import { describe, expect, test } from "vitest";
import {
  isNews,
  isSatisfied,
  MAX_CHILDREN,
  MAX_DEPTH,
  onParentRetried,
  refusal,
} from "../../../src/tasks/ledger/flow-rules.ts";

const OK = "succeeded" as const;
const BAD = ["failed", "cancelled"] as const;

describe("a wait for children is over", () => {
  test.each([
    [[], true, true],
    [[OK, OK], true, true],
    [[OK, null], false, false],
    [[null, null], false, false],
    [[null, BAD[0]], true, false],
    [[BAD[1], null], true, false],
    [[OK, BAD[0]], true, true],
  ])("%j: all %s, allSettled %s", (ends, all, allSettled) => {
    expect([isSatisfied("all", ends), isSatisfied("allSettled", ends)]).toEqual([all, allSettled]);
  });
});

test.each([
  [0, MAX_CHILDREN, 0, undefined],
  [1, MAX_CHILDREN, 0, `at most ${MAX_CHILDREN} children`],
  [MAX_CHILDREN, 0, 0, undefined],
  [0, 1, MAX_DEPTH - 1, undefined],
  [0, 1, MAX_DEPTH, `at most ${MAX_DEPTH} tasks above`],
])("with %i children, %i more at depth %i: %s", (had, more, depth, why) => {
  const said = refusal(had, more, depth);
  if (why === undefined) expect(said).toBeUndefined();
  else expect(said).toContain(why);
});

test("what a child says of its end counts once, in the life that it is for", () => {
  expect(isNews({ life: 1, status: null }, 1)).toBe(true);
  expect(isNews({ life: 1, status: null }, 0)).toBe(false);
  expect(isNews({ life: 1, status: OK }, 1)).toBe(false);
});

describe("a child whose parent begins life 2", () => {
  test.each([
    [undefined, "removed"],
    [{ status: "failed", life: 2 }, "nothing"],
    [{ status: "failed", life: 3 }, "nothing"],
    [{ status: "failed", life: 1 }, "retry"],
    [{ status: "cancelled", life: 0 }, "retry"],
    [{ status: "cancelling", life: 1 }, "later"],
    [{ status: "succeeded", life: 1 }, "tell again"],
    [{ status: "running", life: 1 }, "go on"],
    [{ status: "scheduled", life: 1 }, "go on"],
  ])("%j: %s", (child, verdict) => {
    expect(onParentRetried(child, 2)).toBe(verdict);
  });
});
