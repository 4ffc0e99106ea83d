import { describe, expect, test } from "vitest";
import {
  MAX_JSON_BYTES,
  MAX_JSON_DEPTH,
  NotJsonError,
  readJson,
  toJson,
} from "../../../src/tasks/types/json.ts";

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

const back = (value: unknown) => readJson(toJson(value));
const ONE = { a: 1 };
const nested = (depth: number) => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`) as unknown;

class Point {
  readonly x = 1;
  get y(): number {
    return 2;
  }
}
class Secret {
  readonly #x = 1;
  get x(): number {
    return this.#x;
  }
}

describe("a value that has a form in JSON becomes that form", () => {
  test.each<[string, unknown, unknown]>([
    ["undefined as a whole", undefined, null],
    ["an undefined member", { a: undefined, b: null }, { b: null }],
    ["a Date", { at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
    ["a URL", [new URL("https://a.example/b")], ["https://a.example/b"]],
    ["what has a toJSON", { toJSON: () => ({ a: [new Date(0)] }) }, { a: ["1970-01-01T00:00:00.000Z"] }],
    ["an instance of a class", new Point(), { x: 1 }],
    ["an object without a prototype", Object.create(null), {}],
    ["negative zero", -0, 0],
    ["an object for a number, a text and a truth", [Object(1), Object("a"), Object(false)], [1, "a", false]],
    [
      "a hidden member whose name is a symbol",
      Object.defineProperty({ a: 1 }, Symbol("b"), { value: 2 }),
      { a: 1 },
    ],
    ["half a character", "\ud83d", "\ud83d"],
    ["a member called __proto__", JSON.parse('{"__proto__":{"a":1}}'), JSON.parse('{"__proto__":{"a":1}}')],
    ["an object that is there twice", Array.from({ length: 2 }, () => ONE), [{ a: 1 }, { a: 1 }]],
    ["an array of the greatest depth", nested(MAX_JSON_DEPTH), nested(MAX_JSON_DEPTH)],
  ])("%s", (_name, value, form) => {
    expect(back(value)).toEqual(form);
  });
});

function toText(this: bigint): string {
  return this.toString();
}
const throws = () => {
  throw new Error("no");
};
const revoked = Proxy.revocable({}, {});
revoked.revoke();
const selfish: Record<string, unknown> = {};
selfish.list = [1, selfish];
const shared = Array.from({ length: 40 }).reduce<unknown>((inner) => [inner, inner], 1);

describe("what JSON cannot hold is rejected with its place", () => {
  test.each<[string, unknown, string]>([
    ["NaN", Number.NaN, "result: NaN is not JSON"],
    ["an infinity", [1, [-Infinity]], "result[1][0]: -Infinity is not JSON"],
    ["a Map", { items: [0, 1, 2, { when: new Map() }] }, "result.items[3].when: a Map is not JSON"],
    ["a Set", { "a b": new Set([1]) }, 'result["a b"]: a Set is not JSON'],
    ["an invalid Date", { when: new Date(Number.NaN) }, "result.when: an invalid Date is not JSON"],
    ["bytes", { hash: new Uint8Array(2) }, "result.hash: a Uint8Array is not JSON"],
    ["a Buffer", { hash: Buffer.from("a") }, "result.hash: a Uint8Array is not JSON"],
    ["an ArrayBuffer", new ArrayBuffer(2), "result: an ArrayBuffer is not JSON"],
    ["an Error", { cause: new Error("no") }, "result.cause: an Error is not JSON"],
    ["a Response", new Response("a"), "result: a Response is not JSON"],
    ["a pattern", /a/, "result: a RegExp is not JSON"],
    ["a promise", { later: Promise.resolve(1) }, "result.later: a Promise is not JSON"],
    ["a stream", new ReadableStream(), "result: a ReadableStream is not JSON"],
    ["a BigInt", { a: { b: 1n } }, "result.a.b: a bigint is not JSON"],
    ["a function as a member", { a: throws }, "result.a: a function is not JSON"],
    ["a symbol", [Symbol("a")], "result[0]: a symbol is not JSON"],
    ["undefined in an array", [undefined], "result[0]: undefined is not JSON"],
    ["a hole in an array", Array(1), "result[0]: undefined is not JSON"],
    ["an object that contains itself", selfish, "result.list[1]: an object that contains itself"],
    [
      "an object with nothing but secrets",
      new Secret(),
      "result: an object without members of its own is not JSON",
    ],
    ["what is nested too deeply", nested(MAX_JSON_DEPTH + 1), "is nested deeper than 3000 levels"],
    [
      "a getter that throws",
      { a: Object.defineProperty({}, "b", { get: throws, enumerable: true }) },
      "result.a.b cannot",
    ],
    ["a toJSON that throws", { a: { toJSON: throws } }, "result.a cannot be read"],
    ["a toJSON that returns a function", { a: { toJSON: () => throws } }, "result.a: a function is not JSON"],
    [
      "a toJSON that returns its object",
      { toJSON: () => selfish },
      "result.list[1]: an object that contains",
    ],
    ["a proxy that was revoked", [revoked.proxy], "result[0] cannot be read"],
    ["a member whose name is a symbol", [{ [Symbol("a")]: 1 }], "result[0]: a member whose name is a symbol"],
    [
      "a member whose name is a symbol, beside others",
      { a: { b: 1, [Symbol("c")]: 1 } },
      "result.a: a member whose name is a symbol is not JSON",
    ],
    ["an object for NaN", { n: Object(Number.NaN) }, "result.n: NaN is not JSON"],
    ["an object for a BigInt", { n: Object(1n) }, "result.n: a bigint is not JSON"],
    [
      "what claims to be a Date, and is not",
      { [Symbol.toStringTag]: "Date", toJSON: () => "a", valueOf: throws },
      "result cannot be read",
    ],
    [
      "what claims to be a number, and is not",
      { [Symbol.toStringTag]: "Number" },
      "result: an object is not JSON",
    ],
  ])("%s", (_name, value, message) => {
    expect(() => toJson(value)).toThrow(NotJsonError);
    expect(() => toJson(value)).toThrow(message);
  });

  test("a BigInt becomes what its toJSON returns, if the code has given it one", () => {
    // oxlint-disable-next-line eslint/no-extend-native -- many programs do it, as a way to have them in JSON
    Object.defineProperty(BigInt.prototype, "toJSON", { value: toText, configurable: true });
    try {
      expect(back({ n: 1n })).toEqual({ n: "1" });
    } finally {
      Reflect.deleteProperty(BigInt.prototype, "toJSON");
    }
    expect(() => toJson({ n: 1n })).toThrow(NotJsonError);
  });

  test("and nothing takes longer than its text could be", () => {
    expect(() => toJson(shared)).toThrow(RangeError);
    expect(() => toJson(Array(1e6).fill(0))).toThrow(RangeError);
    const endless = { toJSON: (): unknown => ({ ...endless }) };
    expect(() => toJson(endless)).toThrow(NotJsonError);
  });
});
