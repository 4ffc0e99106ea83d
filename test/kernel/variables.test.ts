import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { readAccess } from "../../src/kernel/access.ts";
import { ConfigurationError, perEnv, readVariable } from "../../src/kernel/variables.ts";
import { readDataSource, readUpstreams } from "../../src/outbound/index.ts";

/** Reads everything that the Worker reads when it starts, with some variables changed. */
function start(variables: Record<string, unknown>): void {
  for (const read of [readAccess, readUpstreams, readDataSource]) read({ ...env, ...variables });
}

describe("a bad variable stops the Worker, with a message that names it", () => {
  test.each([
    ["ACCESS", "open", "ACCESS"],
    ["ACCESS", undefined, "ACCESS"],
    ["DATA_UPSTREAM", "nobody", "DATA_UPSTREAM must name one of UPSTREAMS"],
    ["DATA_PATH", "todos/1", "DATA_PATH"],
    ["DATA_PATH", "//evil.example/x", "DATA_PATH"],
    ["DATA_PATH", "/\\evil.example/x", "DATA_PATH"],
    ["UPSTREAMS", { scripted: { entrypoint: "NoSuchExport" } }, "UPSTREAMS.scripted.entrypoint"],
    ["UPSTREAMS", { scripted: { origin: "api.example.com" } }, "UPSTREAMS.scripted.origin"],
    ["UPSTREAMS", { scripted: { origin: "https://api.example.com/" } }, "UPSTREAMS.scripted.origin"],
    ["UPSTREAMS", { scripted: { origin: "https://api.example.com/v1" } }, "UPSTREAMS.scripted.origin"],
    ["UPSTREAMS", { scripted: { origin: "https://user@api.example.com" } }, "UPSTREAMS.scripted.origin"],
    ["UPSTREAMS", { scripted: { origin: "http://api.example.com" } }, "UPSTREAMS.scripted.origin"],
    ["UPSTREAMS", { scripted: { origin: "ftp://localhost" } }, "UPSTREAMS.scripted.origin"],
    ["UPSTREAMS", { scripted: {} }, "UPSTREAMS.scripted"],
    [
      "UPSTREAMS",
      { scripted: { origin: "https://a.example", entrypoint: "DemoUpstream" } },
      "UPSTREAMS.scripted",
    ],
    [
      "UPSTREAMS",
      { scripted: { entrypoint: "DemoUpstream", concurrency: 0 } },
      "UPSTREAMS.scripted.concurrency",
    ],
    ["UPSTREAMS", { scripted: { entrypoint: "DemoUpstream", concurency: 5 } }, "concurency"],
    ["UPSTREAMS", { "Bad Name": { entrypoint: "DemoUpstream" } }, "UPSTREAMS"],
  ])("%s = %j", (name, value, message) => {
    expect(() => start({ [name]: value })).toThrow(ConfigurationError);
    expect(() => start({ [name]: value })).toThrow(message);
  });

  test.each([
    [{ ACCESS: "tokens" }],
    [{ SLUICE_TOKENS: "[{" }],
    [{ UPSTREAMS: { scripted: { origin: "https://api.example.com:8443", concurrency: 50 } } }],
    [{ UPSTREAMS: '{"scripted": {"origin": "http://127.0.0.1:9000"}}' }],
  ])("a valid one does not: %j", (variables) => {
    expect(() => start(variables)).not.toThrow();
  });
});

test("a variable has at most 5 KB, in bytes; the message says which, how long, and what to do", () => {
  const upstreams = (letters: string) => ({
    scripted: { entrypoint: "DemoUpstream", headers: { "X-A": letters } },
  });
  const around = JSON.stringify(upstreams("")).length;
  expect(() => start({ UPSTREAMS: upstreams("a".repeat(5_120 - around)) })).not.toThrow();
  const UPSTREAMS = upstreams("a".repeat(5_121 - around));
  for (const form of [UPSTREAMS, JSON.stringify(UPSTREAMS)])
    expect(() => start({ UPSTREAMS: form })).toThrow(
      /^The variable UPSTREAMS has 5121 bytes, .* at most 5120\. Move .*: UPSTREAMS_A, UPSTREAMS_B/,
    );
  expect(() => start({ UPSTREAMS: upstreams("é".repeat(2_600)) })).toThrow("at most 5120");
});

test("upstreams may come from several variables, each upstream from one", () => {
  const upstream = { entrypoint: "DemoUpstream" };
  // Without those of the tests. A text that is no object is a secret for a header.
  const alone = { ...env, UPSTREAMS_SCRAPE: "", UPSTREAMS_SHARDED: "", UPSTREAMS_KEYED: "" };
  const names = (variables: object) => [...readUpstreams({ ...alone, ...variables }).keys()];
  const UPSTREAMS = { scripted: upstream };
  expect(
    names({ UPSTREAMS, UPSTREAMS_B: JSON.stringify({ b: upstream }), UPSTREAMS_PARTNERS: { c: upstream } }),
  ).toEqual(["scripted", "b", "c"]);
  expect(() => names({ UPSTREAMS, UPSTREAMS_B: UPSTREAMS })).toThrow(
    'The variable UPSTREAMS_B has an upstream "scripted", which exists already.',
  );
  expect(() => names({ UPSTREAMS, UPSTREAMS_B: { b: {} } })).toThrow("UPSTREAMS_B.b: needs exactly one");
  expect(() => names({ UPSTREAMS, UPSTREAMS_B: '{"b": ' })).toThrow("UPSTREAMS_B is not valid JSON");
  // A secret for a header of one of them.
  expect(names({ UPSTREAMS, UPSTREAMS_API_KEY: "sk_live_1" })).toEqual(["scripted"]);
});

test("an env is parsed once", () => {
  let parsed = 0;
  const read = perEnv((from) => ({ count: ++parsed, access: readVariable(from, "ACCESS", z.string()) }));
  expect(read(env)).toBe(read(env));
  expect(parsed).toBe(1);
  read({ ...env });
  expect(parsed).toBe(2);
});
