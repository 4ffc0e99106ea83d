import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { readAccess } from "../../src/kernel/access.ts";
import { ConfigurationError, perEnv, readVariable } from "../../src/kernel/variables.ts";
import { readDataSource, readUpstreams } from "../../src/outbound/index.ts";

const TOKEN = { name: "ci", scopes: ["read"], token: "0123456789-0123456789-0123456789" };

/** Reads everything that the Worker reads when it starts, with some variables changed. */
function start(variables: Record<string, unknown>): void {
  for (const read of [readAccess, readUpstreams, readDataSource]) read({ ...env, ...variables });
}

describe("a bad variable stops the Worker, with a message that names it", () => {
  test.each([
    ["ACCESS", "open", "ACCESS"],
    ["ACCESS", undefined, "ACCESS"],
    ["SLUICE_TOKENS", "[{", "SLUICE_TOKENS is not valid JSON"],
    ["SLUICE_TOKENS", "just-a-token", "SLUICE_TOKENS"],
    [
      "SLUICE_TOKENS",
      [{ ...TOKEN, token: "short" }],
      "SLUICE_TOKENS.0.token: a token has at least 32 characters",
    ],
    ["SLUICE_TOKENS", [{ ...TOKEN, scopes: ["root"] }], "SLUICE_TOKENS.0.scopes.0"],
    ["SLUICE_TOKENS", [{ ...TOKEN, scope: "read" }], "SLUICE_TOKENS"],
    [
      "SLUICE_TOKENS",
      [{ ...TOKEN, token: "what openssl rand -hex 32 prints" }],
      "SLUICE_TOKENS.0.token: this is still the placeholder; replace it, in the line of .dev.vars",
    ],
    ["DATA_UPSTREAM", "nobody", "DATA_UPSTREAM must name one of UPSTREAMS"],
    ["DATA_PATH", "todos/1", "DATA_PATH"],
    ["DATA_PATH", "//evil.example/x", "DATA_PATH"],
    ["DATA_PATH", "/\\evil.example/x", "DATA_PATH"],
    ["UPSTREAMS", { scripted: { entrypoint: "NoSuchExport" } }, "UPSTREAMS.scripted.entrypoint"],
    ["SLUICE_TOKENS", [{ ...TOKEN, token: `${TOKEN.token} ä` }], "SLUICE_TOKENS.0.token"],
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
    [{ SLUICE_TOKENS: [TOKEN] }],
    [{ SLUICE_TOKENS: JSON.stringify([TOKEN]) }],
    [{ SLUICE_TOKENS: undefined }],
    [{ UPSTREAMS: { scripted: { origin: "https://api.example.com:8443", concurrency: 50 } } }],
    [{ UPSTREAMS: '{"scripted": {"origin": "http://127.0.0.1:9000"}}' }],
  ])("a valid one does not: %j", (variables) => {
    expect(() => start(variables)).not.toThrow();
  });
});

test("the message never shows the value, which may be a secret", () => {
  const secret = { SLUICE_TOKENS: '[{"name": "ci", "token": "hunter2"}' };
  expect(() => start(secret)).toThrow(/^(?!.*hunter2)/s);
  expect(() => start({ SLUICE_TOKENS: [{ ...TOKEN, token: "hunter2" }] })).toThrow(/^(?!.*hunter2)/s);
});

test("an env is parsed once", () => {
  let parsed = 0;
  const read = perEnv((from) => ({ count: ++parsed, access: readVariable(from, "ACCESS", z.string()) }));
  expect(read(env)).toBe(read(env));
  expect(parsed).toBe(1);
  read({ ...env });
  expect(parsed).toBe(2);
});
