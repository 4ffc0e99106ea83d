/**
 * Random JavaScript values, with what must become of each. A value is made twice from the same random numbers: in the
 * Worker, to be returned or thrown, and in the checks, for what is expected of it. So what JSON keeps of it is known from
 * the way in which it was made, and not from the code that is tested. This file depends neither on Node nor on Workers.
 */
import type { Random } from "../random.ts";

export interface Made {
  /** For messages. */
  kind: string;
  value: unknown;
  /** What JSON keeps of it; undefined if JSON cannot hold it. */
  json: { form: unknown } | undefined;
  /** What an error must say if the value is thrown; undefined if it only must say something. */
  says?: string;
}

type Maker = (random: Random, depth: number) => Made;

const MAX_DEPTH = 4;
const HUGE = 600_000;

const kept = (kind: string, value: unknown, form: unknown = value, says?: string): Made => ({
  kind,
  value,
  json: { form },
  ...(says === undefined ? {} : { says }),
});
const lost = (kind: string, value: unknown, says?: string): Made => ({
  kind,
  value,
  json: undefined,
  ...(says === undefined ? {} : { says }),
});

const throwing = (): never => {
  throw new Error("it throws when it is read");
};
const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
/** Whatever one asks it, it throws. */
const hostile = (): object =>
  new Proxy(
    {},
    {
      get: throwing,
      has: throwing,
      ownKeys: throwing,
      getPrototypeOf: throwing,
      getOwnPropertyDescriptor: throwing,
    },
  );
const endless = (): object => {
  const inner: Record<string, unknown> = { a: 1 };
  inner.b = [inner];
  return inner;
};

class Point {
  readonly x: number;
  constructor(x: number) {
    this.x = x;
  }
}
class Secret {
  readonly #x = 1;
  get x(): number {
    return this.#x;
  }
}

const TEXTS = [
  "",
  "a",
  "two words",
  "röntgen",
  "😀",
  "a\0b",
  "__proto__",
  "\ud83d",
  "line\nline",
  "x".repeat(3_000),
];
const NUMBERS = [0, -0, 1, -1, 0.1, 1e300, 5e-324, 2 ** 53, -(2 ** 31)];

const keptLeaves: Maker[] = [
  () => kept("null", null, null, "null"),
  (random) => kept("boolean", random.chance(0.5)),
  (random) => {
    const text = pick(random, TEXTS);
    return kept("text", text, text, text.length < 1_000 ? text.toWellFormed() : undefined);
  },
  (random) => {
    const number = pick(random, NUMBERS);
    // JSON has no negative zero.
    return kept("number", number, number === 0 ? 0 : number, number === 0 ? "0" : String(number));
  },
  () => kept("Date", new Date(86_400_000), "1970-01-02T00:00:00.000Z"),
  () => kept("URL", new URL("https://a.example/b?c"), "https://a.example/b?c"),
  (random) => {
    const x = random.between(0, 9);
    return kept("instance of a class", new Point(x), { x });
  },
  () => kept("object for a number", Object(7), 7),
  () => kept("object without a prototype", Object.assign(Object.create(null) as object, { a: 1 }), { a: 1 }),
];

const lostLeaves: Maker[] = [
  () => lost("NaN", Number.NaN, "NaN"),
  (random) => lost("infinity", random.chance(0.5) ? Infinity : -Infinity),
  () => lost("BigInt", 10n, "10n"),
  () => lost("symbol", Symbol("a"), "Symbol(a)"),
  () => lost("function", () => 1),
  () => lost("member named by a symbol", { a: 1, [Symbol("b")]: 1 }),
  () => lost("Map", new Map([["a", 1]])),
  () => lost("Set", new Set([1])),
  () => lost("bytes", new Uint8Array(3)),
  () => lost("ArrayBuffer", new ArrayBuffer(3)),
  () => lost("pattern", /a/),
  () => lost("promise", { inner: Promise.resolve(1) }),
  () => lost("WeakMap", new WeakMap()),
  () => lost("invalid Date", new Date(Number.NaN)),
  () => lost("Response", new Response("a")),
  () => lost("stream", new ReadableStream()),
  () => lost("object with nothing but secrets", new Secret()),
  () => lost("object that contains itself", endless()),
  () => lost("getter that throws", Object.defineProperty({}, "a", { get: throwing, enumerable: true })),
  () => lost("toJSON that throws", { toJSON: throwing }),
  () => lost("revoked proxy", { inner: revoked() }),
  () => lost("hostile proxy", { inner: hostile() }),
  () => lost("huge text", "x".repeat(HUGE)),
  () => lost("nesting without end", nest(5_000)),
];

function nest(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

const pick = <T>(random: Random, items: readonly T[]): T => {
  const item = items[random.between(0, items.length - 1)];
  if (item === undefined) throw new Error("there is nothing to pick from");
  return item;
};

/** Half of the values can be kept as JSON. */
export function makeValue(random: Random, depth = 0): Made {
  const die = random.next();
  if (depth < MAX_DEPTH && die < 0.2) return makeArray(random, depth);
  if (depth < MAX_DEPTH && die < 0.45) return makeObject(random, depth);
  return pick(random, die < 0.85 ? keptLeaves : lostLeaves)(random, depth);
}

function makeArray(random: Random, depth: number): Made {
  const items = Array.from({ length: random.between(0, 4) }, () => makeValue(random, depth + 1));
  const value = items.map((item) => item.value);
  const isSparse = random.chance(0.1);
  if (isSparse) value.push(undefined);
  const kind = `[${items.map((item) => item.kind).join(", ")}${isSparse ? ", undefined" : ""}]`;
  if (isSparse || items.some(({ json }) => json === undefined)) return lost(kind, value);
  return kept(
    kind,
    value,
    items.map(({ json }) => json?.form),
  );
}

function makeObject(random: Random, depth: number): Made {
  const names = ["a", "b c", "toString", "__proto__", "0"].filter(() => random.chance(0.5));
  const members = names.map((name) => ({ name, ...makeValue(random, depth + 1) }));
  const value = Object.fromEntries(members.map((member) => [member.name, member.value]));
  // A member that is undefined is left out.
  if (random.chance(0.2)) value.absent = undefined;
  const kind = `{${members.map((member) => `${member.name}: ${member.kind}`).join(", ")}}`;
  if (members.some(({ json }) => json === undefined)) return lost(kind, value);
  return kept(kind, value, Object.fromEntries(members.map(({ name, json }) => [name, json?.form])));
}

const failed = (kind: string, value: unknown, says?: string): Made => lost(kind, value, says);

const errors: ((random: Random) => Made)[] = [
  () => failed("Error", new Error("no"), "no"),
  () => failed("TypeError", new TypeError("not this"), "not this"),
  () =>
    failed(
      "error whose message is an object",
      Object.assign(new Error(), { message: { code: 42 } }),
      '{"code":42}',
    ),
  () =>
    failed(
      "error with a name of a megabyte",
      Object.assign(new Error("no"), { name: "x".repeat(1e6) }),
      "no",
    ),
  () => failed("error with a message of a megabyte", new Error("x".repeat(1e6))),
  () =>
    failed(
      "error whose message throws",
      Object.defineProperty(new Error("no"), "message", { get: throwing }),
    ),
  () =>
    failed(
      "error whose stack throws",
      Object.defineProperty(new Error("no"), "stack", { get: throwing }),
      "no",
    ),
  () => {
    const error = new Error("no");
    error.cause = error;
    return failed("error that is its own cause", error, "no");
  },
  () => failed("error with half a character", new Error("\ud83d"), "\ufffd"),
  () => failed("object with a message", { code: 429, message: "quota" }, "quota"),
  () => failed("undefined", undefined, "undefined"),
  () => failed("revoked proxy", revoked()),
  () => failed("hostile proxy", hostile()),
];

/** What is thrown: an error, or any other value. */
export function makeThrown(random: Random): Made {
  return random.chance(0.5) ? pick(random, errors)(random) : makeValue(random);
}

/** The name of a step, and whether the ledger can keep it unchanged. */
export function makeStepName(random: Random): { name: unknown; isKept: boolean } {
  const isKept = random.chance(0.7);
  const names = isKept
    ? ["one", "two words", "__proto__", "constructor", "😀", "x".repeat(100)]
    : ["", " one", "\ud83d", "a\udc00", "a\0b", "x".repeat(101), 7, undefined, null, Symbol("one"), {}];
  return { name: names[random.between(0, names.length - 1)], isKept };
}
