/** Limit keys, what each may have, and weights in the configuration of an upstream. */
import { describe, expect, test } from "vitest";
import { parseUpstream } from "../support/upstreams.ts";

const ORIGIN = "https://api.example.com";
const parse = (change: object) => parseUpstream({ origin: ORIGIN, ...change });

describe("limit_key", () => {
  test.each([
    ["{header:X-Customer}", [{ header: "x-customer" }]],
    ["{path:3}", [{ segment: 3 }]],
    ["org-{path:1}/{path:12}", [{ text: "org-" }, { segment: 1 }, { text: "/" }, { segment: 12 }]],
  ])("%s is read", (template, parts) => {
    expect(parse({ limit_key: template }).limitKey).toEqual(parts);
  });

  test.each([
    "",
    "all",
    "{path:0}",
    "{path:100}",
    "{header:}",
    "{header:a b}",
    "{query:a}",
    "{path:1",
    "{{path:1}}",
    "a {path:1}",
  ])("%j is refused", (template) => {
    expect(() => parse({ limit_key: template })).toThrow("UPSTREAMS.api.limit_key");
  });

  test.each(["Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"])(
    "does not show what is secret: %s",
    (name) => {
      expect(() => parse({ limit_key: `{header:${name}}` })).toThrow("secret");
    },
  );
});

test.each([
  [{ concurrency: 2 }, { concurrency: 2 }],
  [{ rate: { per_second: 5 } }, { rate: { perSecond: 5, burst: 1 } }],
])("per_key = %j is read", (perKey, read) => {
  expect(parse({ per_key: perKey }).perKey).toEqual(read);
});

test.each([{}, { concurrency: 0 }, { rate: {} }, { conc: 1 }])("per_key = %j is refused", (perKey) => {
  expect(() => parse({ per_key: perKey })).toThrow("UPSTREAMS.api.per_key");
});

test("the longest prefix of weights comes first", () => {
  expect(parse({ weights: { "/": 2, "/a/b": 4, "/a": 3 } }).weights.map(([prefix]) => prefix)).toEqual([
    "/a/b",
    "/a",
    "/",
  ]);
});

test.each([{ a: 1 }, { "/a": 0 }, { "/a": 1.5 }, { "/a": 6 }, { "/%61": 2 }])(
  "weights = %j is refused",
  (weights) => {
    expect(() => parse({ weights })).toThrow("UPSTREAMS.api.weights");
  },
);

test("a weight needs room in each shard", () => {
  const upstream = { concurrency: 5, shards: 2 };
  expect(parse({ ...upstream, weights: { "/": 2 } }).weights).toEqual([["/", 2]]);
  expect(() => parse({ ...upstream, weights: { "/": 3 } })).toThrow("at most 2");
});

test("the headers of Sluice itself cannot be let through", () => {
  for (const name of ["Sluice-Limit-Key", "Sluice-Weight", "Sluice-Anything"])
    expect(() => parse({ request_headers: [name] })).toThrow("set by Sluice itself");
});
