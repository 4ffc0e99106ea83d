import { describe, expect, test } from "vitest";
import { MAX_JSON_BYTES, readJson, toJson } from "../../../src/tasks/types/json.ts";

test("the most that there may be is half a MiB", () => {
  expect(MAX_JSON_BYTES).toBe(524_288);
});

describe("toJson", () => {
  test.each([
    ["null", null],
    ["a string", "röntgen 😀"],
    ["an object", { list: [1, true, null], text: "" }],
    ["as much as there may be", "x".repeat(MAX_JSON_BYTES - 2)],
    ["a third as many, of three bytes each", "漢".repeat((MAX_JSON_BYTES - 2) / 3)],
  ])("%s comes back as it was", (_name, value) => {
    expect(readJson(toJson(value))).toEqual(value);
  });

  const circular: unknown[] = [];
  circular.push(circular);

  test.each([
    ["undefined", undefined, TypeError],
    ["a function", () => null, TypeError],
    ["a symbol", Symbol("s"), TypeError],
    ["a bigint", 10n, TypeError],
    ["what contains itself", circular, TypeError],
    ["one byte more than there may be", "x".repeat(MAX_JSON_BYTES - 1), RangeError],
    ["one byte more, after those of three", `${"漢".repeat((MAX_JSON_BYTES - 2) / 3)}x`, RangeError],
  ])("%s is refused", (_name, value, error) => {
    expect(() => toJson(value)).toThrow(error);
  });
});
