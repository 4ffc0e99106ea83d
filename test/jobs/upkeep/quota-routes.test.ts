/** `GET /quotas`: who sees which quotas, and what asking costs. */
import { expect, test } from "vitest";
import { newFileId } from "../../../src/files/store/shards.ts";
import { callForJson } from "../../support/call.ts";
import { putFile } from "../../support/files.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

const tokenOf = (name: string) => `token-of-${name}-`.padEnd(40, "x");
const entry = (name: string, scopes: string[], stored_bytes?: number) => ({
  name,
  scopes,
  token: tokenOf(name),
  ...(stored_bytes !== undefined && { quota: { stored_bytes } }),
});
const SLUICE_TOKENS = [
  entry("shop", ["read", "write"], 100),
  { ...entry("shop", ["read"], 80), token: tokenOf("shop-2") },
  entry("blog", ["read", "write"], 50),
  entry("free", ["read", "write"]),
  entry("boss", ["read", "admin"]),
];
const as = (name: string, QUOTAS: object = { stored_bytes: 1000 }) => ({
  variables: { SLUICE_TOKENS, QUOTAS },
  headers: { Authorization: `Bearer ${tokenOf(name)}` },
});
/** Of new files, of which no alarm has old bytes to remove, in one shard. */
const first = newFileId();
const idInShard = () => newFileId(first);
const quotas = async (name: string) => (await callForJson("/quotas", as(name))).body;
const use = (token: string | null, limit: number, used: number) => ({
  token,
  storedBytes: { limit, used, remaining: Math.max(0, limit - used) },
});

/** Before anything else, so that nothing is counted yet. */
test("a quota costs what the page says, and none costs nothing", async () => {
  const cost = async (work: () => Promise<unknown>) => {
    const before = { ...platform.total };
    await work();
    const { objectRequests, rowsWritten } = platform.total;
    return {
      objectRequests: objectRequests - before.objectRequests,
      rowsWritten: rowsWritten - before.rowsWritten,
    };
  };
  const put = async (name: string, headers: object = { "Content-Length": "1" }) => {
    const { variables, headers: token } = as(name, {});
    const { status } = await putFile(idInShard(), "x", { variables, headers: { ...token, ...headers } });
    expect(status).toBeLessThan(300);
  };
  // The second time, for it no longer costs what objects do once.
  for (let i = 0; i < 2; i++) await put("free");
  const without = await cost(async () => put("free"));
  for (let i = 0; i < 2; i++) await put("blog");
  const within = await cost(async () => put("blog"));
  const unknown = await cost(async () => put("blog", {}));
  const requests = [without, within, unknown].map(({ objectRequests }) => objectRequests);
  expect(requests).toEqual([2, 9, 12]);
  const asked = await cost(async () => callForJson("/quotas", as("free", {})));
  expect(asked).toEqual({ objectRequests: 0, rowsWritten: 0 });
});

test("a token sees its own quota, and one with the scope admin all of them", async () => {
  for (const [name, size] of [
    ["shop", 60],
    ["free", 10],
  ] as const)
    expect((await putFile(`of-${name}`, "x".repeat(size), as(name))).status).toBe(201);
  // Tokens with one name share the least of their quotas.
  expect(await quotas("shop")).toEqual({ quotas: [use("shop", 80, 60)] });
  expect(await quotas("free")).toEqual({ quotas: [] });
  expect(await quotas("boss")).toEqual({
    quotas: [use("shop", 80, 60), use("blog", 50, 4), use(null, 1000, 77)],
  });
});

test("a lowered quota removes nothing, and nothing is left of it", async () => {
  const { body } = await callForJson("/quotas", as("boss", { stored_bytes: 1 }));
  expect(body).toMatchObject({ quotas: expect.arrayContaining([use(null, 1, 77)]) });
});

test.each([
  ["less than nothing", { stored_bytes: -1 }],
  ["an unknown member", { stored_byte: 1 }],
])("a quota of %s closes what needs the secret", async (_, quota) => {
  const wrong = [{ ...entry("shop", ["read"]), quota }];
  const { status, body } = await callForJson("/quotas", {
    variables: { ACCESS: "tokens", SLUICE_TOKENS: wrong },
    headers: { Authorization: `Bearer ${tokenOf("shop")}` },
  });
  expect([status, body.type]).toEqual([503, "urn:sluice:problem:bad-secret"]);
});
