import { describe, expect, test } from "vitest";
import { MAX_JSON_BYTES, readJson, toJson } from "../../../src/tasks/types/json.ts";

test("the limit is half a MiB", () => {
  expect(MAX_JSON_BYTES).toBe(524_288);
});

describe("toJson", () => {
  test.each([
    ["null", null],
    ["a string", "röntgen 😀"],
    ["an object", { list: [1, true, null], text: "" }],
    ["a text of exactly the limit", "x".repeat(MAX_JSON_BYTES - 2)],
    ["a text of exactly the limit in three-byte characters", "漢".repeat((MAX_JSON_BYTES - 2) / 3)],
  ])("%s is restored unchanged", (_name, value) => {
    expect(readJson(toJson(value))).toEqual(value);
  });

  const circular: unknown[] = [];
  circular.push(circular);

  test.each([
    ["undefined", undefined, TypeError],
    ["a function", () => null, TypeError],
    ["a symbol", Symbol("s"), TypeError],
    ["a bigint", 10n, TypeError],
    ["a circular value", circular, TypeError],
    ["a text one byte over the limit", "x".repeat(MAX_JSON_BYTES - 1), RangeError],
    [
      "a text one byte over the limit in three-byte characters",
      `${"漢".repeat((MAX_JSON_BYTES - 2) / 3)}x`,
      RangeError,
    ],
  ])("%s throws", (_name, value, error) => {
    expect(() => toJson(value)).toThrow(error);
  });
});
