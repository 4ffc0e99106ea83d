import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { log } from "../../src/kernel/log.ts";
import { cutText, describeError, errorFields, showValue, toShowable } from "../../src/kernel/safe-text.ts";
import { captureLogs } from "../support/call.ts";

const circular: Record<string, unknown> = { name: "a" };
circular.self = { inner: [circular] };
const throwing = {
  get message() {
    throw new Error("no");
  },
  get stack() {
    throw new Error("no");
  },
};
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const hostile = new Proxy(
  {},
  {
    get: () => {
      throw new Error("no");
    },
    ownKeys: () => {
      throw new Error("no");
    },
    getPrototypeOf: () => {
      throw new Error("no");
    },
  },
);
function nested(depth: number): unknown {
  let value: unknown = "end";
  for (let i = 0; i < depth; i++) value = { in: value };
  return value;
}

/** Everything that code may throw, log or report, and what is hard about it. */
const VALUES: [string, unknown][] = [
  ["an error", new Error("why")],
  ["an error whose message is an object", Object.assign(new Error(), { message: { code: 42 } })],
  ["an error whose message is null", Object.assign(new Error(), { message: null })],
  ["an error whose message is a symbol", Object.assign(new Error(), { message: Symbol("s") })],
  ["an error whose name is an object", Object.assign(new Error("why"), { name: {} })],
  ["an error with a huge message", new Error("😀".repeat(1_000_000))],
  ["an error that causes itself", selfCaused()],
  [
    "an error with a throwing stack",
    Object.defineProperty(new Error("why"), "stack", { get: () => circular.x }),
  ],
  ["an aggregate", new AggregateError([new Error("a")], "several")],
  ["a DOMException", new DOMException("gone", "AbortError")],
  ["an object with a message", { code: 429, message: "quota" }],
  ["an object without one", { code: 429 }],
  ["an object without a prototype", Object.assign(Object.create(null), { a: 1 })],
  ["getters that throw", throwing],
  ["a revoked proxy", revoked()],
  ["a proxy that throws at everything", hostile],
  ["a circle", circular],
  ["10,000 levels", nested(10_000)],
  ["a toJSON that throws", { toJSON: () => Object.keys(revoked()) }],
  ["a toJSON that returns a BigInt", { toJSON: () => 10n }],
  ["a toJSON that returns itself", toItself()],
  ["a toString that throws", { toString: revoked }],
  ["a BigInt", 10n],
  ["a huge BigInt", 10n ** 5000n],
  ["a symbol", Symbol("s")],
  ["a function", function run() {}],
  ["a class", Map],
  ["a Map", new Map([[1, 2]])],
  ["a Response", new Response("x")],
  ["bytes", new Uint8Array(100_000)],
  ["an invalid date", new Date(Number.NaN)],
  ["NaN", Number.NaN],
  ["undefined", undefined],
  ["null", null],
  ["half a character", "a\ud83d"],
  ["a long text", "x".repeat(1_000_000)],
  ["a sparse array", Array.from({ length: 10_000_000 })],
  ["very many members", Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`key-${i}`, i]))],
  ["a member called __proto__", JSON.parse('{"__proto__": {"a": 1}, "b": 2}')],
];

function selfCaused(): Error {
  const error = new Error("round");
  error.cause = error;
  return error;
}
function toItself() {
  const value = { toJSON: (): unknown => value };
  return value;
}

// By name: what reports a test must not look at the values.
const NAMES = VALUES.map(([name]) => name);
const valueOf = (name: string): unknown => VALUES.find(([known]) => known === name)?.[1];

test.each(NAMES)("%s is described, in bounded and well-formed text", (called) => {
  const value = valueOf(called);
  const { name, message } = describeError(value);
  expect([typeof name, typeof message]).toEqual(["string", "string"]);
  expect(name.length).toBeLessThanOrEqual(200);
  expect(message.length).toBeLessThanOrEqual(2_000);
  expect((name + message).isWellFormed()).toBe(true);
  expect(JSON.stringify(errorFields(value)).length).toBeLessThan(100_000);
  expect(JSON.stringify(toShowable(value)).length).toBeLessThan(200_000);
});

test.each(NAMES)(
  "%s is logged in one line, as a field, as all fields, as a message and as a level",
  async (called) => {
    const value = valueOf(called);
    const { lines } = await captureLogs(async () => {
      log("info", "a", { value });
      log("warn", "b", value as Record<string, unknown>);
      log("error", value as string);
      log(value as "info", "d");
    });
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatchObject({ level: "info", message: "a" });
    expect(lines[1]).toMatchObject({ level: "warn" });
  },
);

const DESCRIBED: [unknown, { name: string; message: string }][] = [
  [new TypeError("why"), { name: "TypeError", message: "why" }],
  [Object.assign(new Error(), { message: { code: 42 } }), { name: "Error", message: '{"code":42}' }],
  [
    { code: 429, message: "quota" },
    { name: "Error", message: "quota" },
  ],
  [{ code: 429 }, { name: "Error", message: '{"code":429}' }],
  [
    { name: "QuotaError", message: "quota" },
    { name: "QuotaError", message: "quota" },
  ],
  ["text", { name: "Error", message: "text" }],
  [undefined, { name: "Error", message: "undefined" }],
  [null, { name: "Error", message: "null" }],
  [12n, { name: "Error", message: "12n" }],
  [Symbol("s"), { name: "Error", message: "Symbol(s)" }],
  [new Response("x"), { name: "Error", message: "[Response]" }],
  [function run() {}, { name: "Error", message: "[function run]" }],
  [throwing, { name: "Error", message: '{"message":"[not readable]","stack":"[not readable]"}' }],
  [revoked(), { name: "Error", message: "[not readable]" }],
  ["a\ud83d", { name: "Error", message: "a\ufffd" }],
  [
    { code: 429, message: "" },
    { name: "Error", message: '{"code":429,"message":""}' },
  ],
  [
    { code: 429, message: null },
    { name: "Error", message: '{"code":429,"message":null}' },
  ],
  [new RangeError(""), { name: "RangeError", message: "" }],
  [
    new AggregateError([new TypeError("one"), "two", { code: 3 }, new Error("four")], "All were rejected"),
    { name: "AggregateError", message: 'All were rejected: one: two: {"code":3}' },
  ],
  [new AggregateError([new Error("one")]), { name: "AggregateError", message: "one" }],
  [
    Object.assign(new AggregateError([]), {
      message: "none",
      errors: Object.assign([1], { slice: revoked() }),
    }),
    { name: "AggregateError", message: "none: 1" },
  ],
  [
    Object.assign(new AggregateError([]), { message: "none", errors: 7 }),
    { name: "AggregateError", message: "none" },
  ],
  [
    Object.assign(new AggregateError([]), { message: "none", errors: revoked() }),
    { name: "AggregateError", message: "none" },
  ],
];
test.each(DESCRIBED.map(([, description], i) => [description, i] as const))("%o", (description, i) => {
  expect(describeError(DESCRIBED[i]?.[0])).toEqual(description);
});

describe("toShowable", () => {
  const SHOWN: [unknown, unknown][] = [
    [{ v: 10n }, { v: "10n" }],
    [{ v: [Number.NaN, undefined, null, true] }, { v: ["NaN", "undefined", null, true] }],
    [{ a: undefined, b: 1 }, { b: 1 }],
    [{ at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
    [
      { map: new Map(), error: new RangeError("r") },
      { map: "[Map]", error: "RangeError: r" },
    ],
    [circular, { name: "a", self: { inner: ["[circular]"] } }],
    [
      [1, [2]],
      [1, [2]],
    ],
  ];
  test.each(SHOWN.map(([, shown], i) => [shown, i] as const))("%j", (shown, i) => {
    expect(toShowable(SHOWN[i]?.[0])).toEqual(shown);
  });

  test("shows the same object twice if it does not contain itself", () => {
    const shared = { a: 1 };
    expect(toShowable([shared, shared])).toEqual([shared, shared]);
  });

  test("keeps what JSON keeps", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4, stringUnit: "grapheme" }), (value) => {
        // As text, since JSON has no -0.
        expect(JSON.stringify(toShowable(value))).toBe(JSON.stringify(value));
      }),
    );
  });

  test("holds for anything", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
    });
    fc.assert(
      fc.property(anything, (value) => {
        expect(typeof showValue(value)).toBe("string");
        expect(JSON.stringify(toShowable(value))).toBeTypeOf("string");
      }),
    );
  });
});

test.each([
  ["abc", 3, "abc"],
  ["abcd", 3, "abc"],
  ["ab😀", 3, "ab"],
  ["ab😀", 4, "ab😀"],
  ["a\udc00b", 9, "a\ufffdb"],
  ["", 0, ""],
])("cutText(%j, %i)", (text, max, cut) => {
  expect(cutText(text, max)).toBe(cut);
});
