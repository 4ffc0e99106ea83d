/** Limit keys and weights, through the Worker's front door: who may name them, what they do, and what the upstream sees. */
import { abortAllDurableObjects, env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { fetchUpstream } from "../../../src/outbound/index.ts";
import { callForJson, captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { holdUpstream, resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { taskContext } from "../../support/task-context.ts";
import { acquireFrom, IDLE, loadOf } from "../../support/upstreams.ts";

keepQuiet();
expectRuntimeErrors("Network connection lost");
beforeEach(async () => {
  await reset();
  resetUpstream();
});

const claim = (key: string | undefined, weight?: number | string): { headers: Record<string, string> } => ({
  headers: {
    ...(key !== undefined && { "Sluice-Limit-Key": key, "X-Request-Id": key }),
    ...(weight !== undefined && { "Sluice-Weight": String(weight) }),
  },
});
const statusOf = async (name: string) => env.SEMAPHORE.getByName(name).status();
const untilWaiting = async (name: string, count: number) =>
  expect.poll(async () => (await loadOf(name)).waiting).toBe(count);

test("what a call claims does not travel to the upstream", async () => {
  let seen = new Headers();
  resetUpstream(({ headers }) => {
    seen = headers;
    return Response.json({});
  });
  expect((await callForJson("/fetch/keyed/x", claim("ada", 2))).status).toBe(200);
  await fetchUpstream(taskContext(), "keyed", "/x", {
    headers: { "Sluice-Weight": "9" },
    limitKey: "ada",
    weight: 2,
  });
  expect([...seen.keys()].filter((name) => name.startsWith("sluice"))).toEqual([]);
});

describe("a request", () => {
  test.each([
    ["a", 200],
    ["x".repeat(256), 200],
    ['with spaces, and such: "{é}"'.replace("é", "e"), 200],
    ["x".repeat(257), 400],
    ["", 400],
    ["caf\u00e9", 400],
    ["tab\there", 400],
  ])("with the limit key %j gets a %i", async (key, status) => {
    const response = await callForJson("/fetch/keyed/x", { headers: { "Sluice-Limit-Key": key } });
    expect(response.status).toBe(status);
    if (status === 400) expect(response.body.detail).toContain("1 to 256 printable ASCII characters");
  });

  test.each([
    ["1", 200],
    ["3", 200],
    ["0", 400],
    ["-1", 400],
    ["1.5", 400],
    ["two", 400],
    ["1e1", 400],
    ["99999999", 400],
    ["4", 422],
  ])("with the weight %s gets a %i", async (weight, status) => {
    const response = await callForJson("/fetch/keyed/x", claim(undefined, weight));
    expect(response.status).toBe(status);
    if (status === 400) expect(response.body.detail).toContain("positive integer");
    if (status === 422)
      expect([response.body.type, response.body.detail]).toEqual([
        "urn:sluice:problem:too-heavy",
        expect.stringContaining("may weigh 3 at most"),
      ]);
    expect(upstream.order.length).toBe(status === 200 ? 1 : 0);
    expect(await loadOf("keyed")).toEqual(IDLE);
  });

  test("with a key may weigh as much as its key may have", async () => {
    const { status, body } = await callForJson("/fetch/keyed/x", claim("a", 3));
    expect([status, body.detail]).toEqual([422, expect.stringContaining("may weigh 2 at most")]);
  });

  test("names a key or a weight only with the scope write", async () => {
    const token = (scope: string) => `token-${scope}-0123456789-0123456789-0123`;
    const SLUICE_TOKENS = [
      { name: "reader", scopes: ["read"], token: token("read") },
      { name: "writer", scopes: ["read", "write"], token: token("write") },
    ];
    const as = async (scope: string, { headers }: { headers?: Record<string, string> }) =>
      (
        await callForJson("/fetch/keyed/x", {
          variables: { SLUICE_TOKENS },
          headers: { ...headers, Authorization: `Bearer ${token(scope)}` },
        })
      ).status;
    expect([
      await as("read", {}),
      await as("read", claim("a")),
      await as("read", claim(undefined, 2)),
    ]).toEqual([200, 403, 403]);
    expect([await as("write", claim("a")), await as("write", claim(undefined, 2))]).toEqual([200, 200]);
  });
});

test("keys take turns: one with many calls delays another by one turn", async () => {
  const go = holdUpstream();
  const calls = [callForJson("/fetch/keyed-single/x", claim("noisy-0"))];
  await expect.poll(() => upstream.order.length).toBe(1);
  for (let i = 1; i < 6; i++) {
    const { headers } = claim("noisy");
    calls.push(
      callForJson("/fetch/keyed-single/x", { headers: { ...headers, "X-Request-Id": `noisy-${i}` } }),
    );
    await untilWaiting("keyed-single", i);
  }
  calls.push(callForJson("/fetch/keyed-single/x", claim("small")));
  await untilWaiting("keyed-single", 6);
  expect((await statusOf("keyed-single")).keys).toEqual({
    count: 3,
    top: [
      { key: "noisy", waiting: 5, held: 0 },
      { key: "small", waiting: 1, held: 0 },
      { key: "noisy-0", waiting: 0, held: 1 },
    ],
  });
  go();
  await Promise.all(calls);
  expect(upstream.order.slice(0, 3)).toEqual(["noisy-0", "noisy-1", "small"]);
  expect((await statusOf("keyed-single")).keys).toBeUndefined();
});

test("a key leaves as much room in the queue as it takes", async () => {
  const go = holdUpstream();
  const calls = Array.from({ length: 12 }, async () => callForJson("/fetch/keyed-single/x", claim("noisy")));
  const { status, body, headers } = await Promise.race(calls);
  expect([status, body.type, headers.get("RateLimit-Policy")]).toEqual([
    429,
    "urn:sluice:problem:too-many-requests",
    expect.stringContaining('"limit-key";q=10'),
  ]);
  calls.push(callForJson("/fetch/keyed-single/x", claim("other")));
  await untilWaiting("keyed-single", 11);
  go();
  expect((await Promise.all(calls)).filter((response) => response.status === 200)).toHaveLength(12);
});

test("weights in flight never pass the limit, nor those of a key its own, also over a restart", async () => {
  let [weight, most, ofKey, mostOfKey] = [0, 0, 0, 0];
  resetUpstream(async ({ url }) => {
    const [, , key, own] = new URL(url).pathname.split("/");
    weight += Number(own);
    if (key === "a") ofKey += Number(own);
    [most, mostOfKey] = [Math.max(most, weight), Math.max(mostOfKey, ofKey)];
    await scheduler.wait(20);
    weight -= Number(own);
    if (key === "a") ofKey -= Number(own);
    return Response.json({});
  });
  const calls = Array.from({ length: 24 }, async (_, i) => {
    const [key, own] = [i % 2 ? "a" : `b${i}`, 1 + (i % 4 === 1 ? 1 : 0)];
    return callForJson(`/fetch/keyed/x/${key}/${own}`, claim(key, own));
  });
  await scheduler.wait(30);
  await abortAllDurableObjects();
  const statuses = (await Promise.all(calls)).map(({ status }) => status);
  expect(statuses).toEqual(calls.map(() => 200));
  expect([most, mostOfKey]).toEqual([3, 2]);
  expect(await loadOf("keyed")).toEqual(IDLE);
});

test("a restarted semaphore knows the keys and weights of those that hold", async () => {
  await acquireFrom("keyed", "one", { key: "a", weight: 2 });
  await abortAllDurableObjects();
  const { held, keys } = await statusOf("keyed");
  expect([held.count, held.weight, held.leases[0]]).toEqual([
    1,
    2,
    expect.objectContaining({ key: "a", weight: 2 }),
  ]);
  expect(keys?.top).toEqual([{ key: "a", waiting: 0, held: 2 }]);
  expect((await acquireFrom("keyed", "two", { key: "a" })).is).toBe("queued");
});

describe("settings", () => {
  const keysOf = async (paths: readonly string[], headers: Record<string, string> = { "X-Tenant": "t" }) => {
    const go = holdUpstream();
    const calls = paths.map(async (path) => callForJson(`/fetch/tenants${path}`, { headers }));
    await expect
      .poll(async () => {
        const { held, waiting } = await loadOf("tenants");
        return held + waiting;
      })
      .toBe(paths.length);
    const { keys, held } = await statusOf("tenants");
    go();
    await Promise.all(calls);
    return { keys: keys?.top, weights: held.leases.map(({ weight = 1 }) => weight) };
  };

  test("make the key of a call from its path and headers, however the path is encoded", async () => {
    const { keys } = await keysOf(["/v1/ada/x", "/v1/%61d%61/y", "/v1/ada;a=b"]);
    expect(keys).toEqual([{ key: "t:ada", waiting: 0, held: 3 }]);
  });

  test("make no key where a part is missing", async () => {
    expect((await keysOf(["/v1"])).keys).toBeUndefined();
    expect((await keysOf(["/v1/ada"], {})).keys).toBeUndefined();
  });

  test("decide alone: a request that names a key is a 400", async () => {
    const { status, body } = await callForJson("/fetch/tenants/v1/ada", claim("mine"));
    expect([status, body.detail]).toEqual([400, expect.stringContaining("Leave Sluice-Limit-Key out")]);
  });

  test("give a path its least weight, however it is encoded", async () => {
    expect((await keysOf(["/large/a"])).weights).toEqual([3]);
    expect((await keysOf(["/%6carge/a"])).weights).toEqual([3]);
    expect((await keysOf(["/larger/a"])).weights).toEqual([1]);
    const { status } = await callForJson("/fetch/tenants/large/a", claim(undefined, 4));
    expect(status).toBe(422);
  });
});

test("code says the key and the weight of its call", async () => {
  const go = holdUpstream();
  const call = fetchUpstream(taskContext(), "keyed", "/x", { limitKey: "ada", weight: 2 });
  await expect.poll(async () => (await loadOf("keyed")).held).toBe(1);
  expect((await statusOf("keyed")).held.leases).toMatchObject([{ key: "ada", weight: 2 }]);
  go();
  expect((await call).status).toBe(200);
  await expect(fetchUpstream(taskContext(), "keyed", "/x", { weight: 0.5 })).rejects.toThrow(
    "positive integer",
  );
});

test("a key is in no line of the log", async () => {
  const key = "ada@example.com";
  const { lines } = await captureLogs(async () => {
    await callForJson("/fetch/keyed/x", { headers: { "Sluice-Limit-Key": key } });
    await callForJson("/fetch/keyed/x", { headers: { "Sluice-Limit-Key": key, "Sluice-Weight": "3" } });
    await acquireFrom("keyed", "short", { key, leaseMs: 1 });
    await scheduler.wait(5);
    await statusOf("keyed");
  });
  expect(lines.some(({ message }) => String(message).startsWith("lease expired"))).toBe(true);
  expect(JSON.stringify(lines)).not.toContain("ada@");
});
