/** The secrets with the tokens: what is in them, and what happens to callers if one of them is wrong. */

import { env } from "cloudflare:test";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { countTokenNames, findToken } from "../../src/kernel/tokens.ts";
import { callForJson, callWorker, captureLogs } from "../support/call.ts";

const READER = "reader-token-0123456789-0123456789";
const WRITER = "writer-token-0123456789-0123456789";
const READ = { name: "reader", scopes: ["read"], token: READER };
const WRITE = { name: "writer", scopes: ["write"], token: WRITER };
const hash = (token: string) => createHash("sha256").update(token).digest("hex");

const using = (secrets: object): Env => Object.assign({}, env, secrets);
/** The status for a caller with a token, or with none. */
async function call(secrets: object, token?: string) {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const variables = { ACCESS: "tokens", SLUICE_TOKENS: undefined, ...secrets };
  const site = "https://sluice.example.com";
  return callForJson("/openapi.json", { site, variables, headers });
}
const statusOf = async (secrets: object, token?: string) => (await call(secrets, token)).status;

describe("tokens", () => {
  test("may come from several secrets", async () => {
    const secrets = { SLUICE_TOKENS: [WRITE], SLUICE_TOKENS_CI: JSON.stringify([READ]) };
    expect([await statusOf(secrets, READER), await statusOf(secrets, WRITER)]).toEqual([200, 403]);
    expect(await statusOf({ SLUICE_TOKENS_CI: [READ] }, READER)).toBe(200);
    expect(countTokenNames(using(secrets))).toBe(2);
  });

  test("may be known by their SHA-256 only", async () => {
    const { token: _, ...entry } = READ;
    for (const token_sha256 of [hash(READER), hash(READER).toUpperCase()]) {
      const secrets = { SLUICE_TOKENS: [{ ...entry, token_sha256 }] };
      expect([await statusOf(secrets, READER), await statusOf(secrets, hash(READER))]).toEqual([200, 401]);
    }
  });

  test("may expire, and then the response says so", async () => {
    const until = (ms: number) => ({
      SLUICE_TOKENS: [{ ...READ, expires_at: new Date(Date.now() + ms).toISOString() }],
    });
    expect(await statusOf(until(60_000), READER)).toBe(200);
    const { status, headers, body } = await call(until(-60_000), READER);
    expect([status, body.detail]).toEqual([401, expect.stringMatching(/^This token expired at 20/)]);
    expect(headers.get("WWW-Authenticate")).toContain('error="invalid_token"');
    expect(
      await statusOf({ SLUICE_TOKENS: [{ ...READ, expires_at: "2099-01-01T00:00:00+01:00" }] }, READER),
    ).toBe(200);
  });

  test.each(["", "hunter2"])(
    "of fewer than 32 characters are unknown, also by their hash: %j",
    async (token) => {
      const { token: _, ...entry } = READ;
      const secrets = { SLUICE_TOKENS: [{ ...entry, token_sha256: hash(token) }, WRITE] };
      expect(await statusOf(secrets, token)).toBe(401);
      // A header that cannot be read has the empty token.
      const variables = { ACCESS: "tokens", ...secrets };
      for (const Authorization of ["nonsense", `Basic ${btoa(`a:${token}`)}`])
        expect(
          (
            await callForJson("/openapi.json", {
              site: "https://sluice.example.com",
              variables,
              headers: { Authorization },
            })
          ).status,
        ).toBe(401);
    },
  );

  test.each(["2099-01-01T00:00:00", "2099-01-01", "2099-02-30T00:00:00Z", "2099-01-01T24:00:00Z", ""])(
    "have no expires_at %j",
    async (expires_at) => {
      const { value } = await captureLogs(async () =>
        statusOf({ SLUICE_TOKENS_EXPIRY: [{ ...READ, expires_at }] }, READER),
      );
      expect(value).toBe(503);
    },
  );

  test("may have one name, so that a token can be replaced", () => {
    const secrets = using({ SLUICE_TOKENS: [READ, { ...READ, token: WRITER }] });
    expect([READER, WRITER].map((token) => findToken(secrets, token)?.name)).toEqual(["reader", "reader"]);
  });
});

describe("a secret that is wrong", () => {
  const WRONG: [string, unknown, string][] = [
    ["is no JSON", "[{", "SLUICE_TOKENS is not valid JSON"],
    ["is no list", "just-a-token", "SLUICE_TOKENS: "],
    ["has a short token", [{ ...READ, token: "hunter2" }], "SLUICE_TOKENS.0.token: a token has at least 32"],
    ["has another alphabet", [{ ...READ, token: `${READER} ä` }], "SLUICE_TOKENS.0.token"],
    ["has an unknown scope", [{ ...READ, scopes: ["root"] }], "SLUICE_TOKENS.0.scopes.0"],
    ["has an unknown member", [{ ...READ, scope: "read" }], "SLUICE_TOKENS"],
    [
      "has a token as the name of a member",
      [{ name: "a", scopes: ["read"], [READER]: 1 }],
      "SLUICE_TOKENS.0: ",
    ],
    [
      "has the placeholder",
      [{ ...READ, token: "what openssl rand -hex 32 prints" }],
      "still the placeholder",
    ],
    ["has a placeholder", [WRITE, { ...READ, token: `change-me-${READER}` }], "still the placeholder"],
    [
      "has a token twice",
      [READ, WRITE, { ...WRITE, token: READER }],
      "SLUICE_TOKENS.2 is the token of an earlier",
    ],
    [
      "has a token and its hash",
      [{ ...READ, token_sha256: hash(READER) }],
      "exactly one of token and token_sha256",
    ],
    ["has neither", [WRITE, { name: "a", scopes: ["read"] }], "exactly one of token and token_sha256"],
    ["has no SHA-256", [{ name: "a", scopes: ["read"], token_sha256: "abc" }], "64 hexadecimal digits"],
    ["has no time", [{ ...READ, expires_at: "tomorrow" }], "SLUICE_TOKENS.0.expires_at"],
    [
      "has own alone",
      [{ ...READ, scopes: ["own"] }],
      'SLUICE_TOKENS.0.scopes: "own" narrows "read" and "write"',
    ],
    [
      "has own and admin",
      [{ ...READ, scopes: ["own", "read", "admin"] }],
      '"admin" is not: it reaches everything',
    ],
    [
      "has a prefix and admin",
      [WRITE, { ...READ, scopes: ["admin"], files: { prefix: "ada-" } }],
      'SLUICE_TOKENS.1.scopes: a token with "own", "files" or "task_types" is bound',
    ],
    [
      "has a prefix that no id has",
      [{ ...READ, files: { prefix: "ada/" } }],
      "SLUICE_TOKENS.0.files.prefix: a prefix",
    ],
    [
      "has an empty prefix",
      [WRITE, { ...READ, files: { prefix: "" } }],
      "SLUICE_TOKENS.1.files.prefix: a prefix",
    ],
    ["is bound to files and not which", [{ ...READ, files: {} }], "SLUICE_TOKENS.0.files.prefix"],
    ["has more than 5 KB", [READ, { ...WRITE, name: "x".repeat(5_000) }], "SLUICE_TOKENS_A, SLUICE_TOKENS_B"],
  ];

  test.each(WRONG)(
    "because it %s closes every closed route, and the log says why",
    async (_, SLUICE_TOKENS, why) => {
      const { value, lines } = await captureLogs(async () => {
        for (const token of [undefined, READER]) {
          const { status, body } = await call({ SLUICE_TOKENS }, token);
          expect([status, body.type]).toEqual([503, "urn:sluice:problem:bad-secret"]);
          expect(body.detail).toContain("SLUICE_TOKENS");
        }
        return callWorker("/healthz", { variables: { SLUICE_TOKENS } });
      });
      expect(value.response.status).toBe(200);
      const shown = lines.filter(({ secret }) => secret === "SLUICE_TOKENS");
      expect(shown).toMatchObject([{ level: "error", why: expect.stringContaining(why) }]);
      expect(JSON.stringify(lines)).not.toContain("hunter2");
      expect(JSON.stringify(lines)).not.toContain(READER);
    },
  );

  test.each(["", " ", "null", "7", `"${READER}"`, JSON.stringify({ [READER]: READ }), "[[]]", "\ufeff[]"])(
    "closes every closed route, and is not shown: %j",
    async (SLUICE_TOKENS) => {
      const { value, lines } = await captureLogs(async () => call({ SLUICE_TOKENS }, READER));
      expect([value.status, value.body.type]).toEqual([503, "urn:sluice:problem:bad-secret"]);
      expect(JSON.stringify([value.body, lines])).not.toContain(READER);
    },
  );

  test("leaves the tokens of the others good; nobody knows about a token that none of them has", async () => {
    const secrets = { SLUICE_TOKENS: [READ], SLUICE_TOKENS_CI: "[{" };
    const { value } = await captureLogs(async () => [
      await statusOf(secrets, READER),
      await statusOf(secrets, WRITER),
      await statusOf(secrets),
    ]);
    expect(value).toEqual([200, 503, 401]);
  });

  test("does not close the door that needs no token", async () => {
    const { response } = await callWorker("/openapi.json", { variables: { SLUICE_TOKENS: "[{" } });
    expect(response.status).toBe(200);
  });
});
