/** Cache-Control as RFC 9111 §5.2 has it, and what nobody should rely on. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCacheControl, parseSeconds } from "../../../src/outbound/proxy/cache-control.ts";

describe("directives are read", () => {
  test.each<[string, Record<string, string | true>]>([
    ["", {}],
    [" , ,, ", {}],
    ["max-age=60", { "max-age": "60" }],
    ["MAX-Age=60,NO-Store", { "max-age": "60", "no-store": true }],
    ["\tpublic ,\tmax-age=60\t", { public: true, "max-age": "60" }],
    ['max-age="60"', { "max-age": "60" }],
    ['private="x, no-store", no-cache', { private: "x, no-store", "no-cache": true }],
    [String.raw`x="a\"b, private", public`, { x: 'a"b, private', public: true }],
    ["max-age=60, max-age=60", { "max-age": "60" }],
    ["=, public", {}],
  ])("%s", (header, expected) => {
    const directives = parseCacheControl(header);
    for (const [name, value] of Object.entries(expected)) expect(directives.get(name)).toBe(value);
    expect(directives.isDoubtful).toBe(header.startsWith("="));
  });

  test.each([
    "max-age=60; private",
    "max-age=60 private",
    'private="x',
    'x="a"b',
    "max-age=",
    "max-age=60, max-age=61",
    "max-age=60, max-age",
    '"private"',
    "private, =",
    "max-age=60, ünknown",
  ])("%s is doubtful", (header) => {
    expect(parseCacheControl(header).isDoubtful).toBe(true);
  });

  test("none is overlooked, whatever is around it", () => {
    const token = fc.stringMatching(/^[a-zA-Z-]{1,8}$/);
    const argument = fc.oneof(
      token,
      fc.string({ unit: "grapheme-ascii" }).map((text) => JSON.stringify(text)),
    );
    const directive = fc.oneof(
      token,
      fc.tuple(token, argument).map(([name, value]) => `x-${name}=${value}`),
    );
    const list = fc.array(directive, { maxLength: 5 });
    const separator = fc.constantFrom(",", ", ", " ,", "\t,, ");
    fc.assert(
      fc.property(
        list,
        list,
        separator,
        fc.constantFrom("private", "No-Store"),
        (before, after, comma, word) => {
          const directives = parseCacheControl([...before, word, ...after].join(comma));
          expect(directives.isDoubtful || directives.has(word.toLowerCase())).toBe(true);
        },
      ),
    );
  });

  test.each([
    ["quotes", '="'.repeat(50_000)],
    ["escapes", `x="${String.raw`\"`.repeat(50_000)}`],
    ["commas", ", ".repeat(50_000)],
    ["spaces", `x${" ".repeat(100_000)}x`],
    ["names", "a,".repeat(50_000)],
    ["signs", "a=".repeat(50_000)],
  ])("in linear time, also of 100 KB of %s", (_name, header) => {
    const startedAtMs = performance.now();
    parseCacheControl(header);
    expect(performance.now() - startedAtMs).toBeLessThan(500);
  });
});

test.each<[string | true | undefined, number | undefined]>([
  ["0", 0],
  ["060", 60],
  ["99999999999999999999", 2 ** 31],
  ["", undefined],
  ["-1", undefined],
  ["1.5", undefined],
  ["1e3", undefined],
  [" 1", undefined],
  [true, undefined],
  [undefined, undefined],
])("%s seconds are %s", (text, expected) => {
  expect(parseSeconds(text)).toBe(expected);
});
