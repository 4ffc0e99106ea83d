/** Quotas of requests a second, through the front door. */
import { createExecutionContext, env, reset, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, expect, test } from "vitest";
import { captureLogs } from "../support/call.ts";
import { Faults } from "../support/platform/faults.ts";
import { platform } from "../support/platform/platform.ts";
import { keepQuiet } from "../support/quiet.ts";
import worker from "../support/worker.ts";

keepQuiet();
afterEach(async () => {
  await reset();
});

let names = 0;
const tokenOf = (name: string) => `rate-token-of-${name}-`.padEnd(40, "x");

/** Variables in which a token of a new name has a quota, and another has none. */
function withQuota(perSecond: number | undefined, QUOTAS: object = {}) {
  const name = `rate-${names++}`;
  const quota = perSecond === undefined ? {} : { requests_per_second: perSecond };
  const entry = (one: string, more: object) => ({
    name: one,
    scopes: ["read"],
    token: tokenOf(one),
    ...more,
  });
  const SLUICE_TOKENS = [entry(name, { quota }), entry(`${name}-free`, {})];
  // One environment for all calls of an isolate.
  const newIsolate = () => ({
    ...env,
    ACCESS: "tokens",
    SLUICE_TOKENS: JSON.stringify(SLUICE_TOKENS),
    QUOTAS,
  });
  const first = newIsolate();
  const get = async (who = name, path = "/tasks", isolate = first) => {
    const headers = { Authorization: `Bearer ${tokenOf(who)}` };
    const ctx = createExecutionContext();
    const response = await worker.fetch(new Request(`http://localhost${path}`, { headers }), isolate, ctx);
    await response.arrayBuffer();
    await waitOnExecutionContext(ctx);
    return response;
  };
  return { name, get, newIsolate };
}

const statusesOf = (responses: Response[]) => responses.map(({ status }) => status).toSorted((a, b) => a - b);

test("as many come through as a second has, and the others learn when to come again", async () => {
  const { name, get } = withQuota(3);
  const responses = await Promise.all(Array.from({ length: 5 }, async () => get()));
  expect(statusesOf(responses)).toEqual([200, 200, 200, 429, 429]);
  const refused = responses.find(({ status }) => status === 429);
  expect(refused?.headers.get("Retry-After")).toBe("1");
  expect(refused?.headers.get("RateLimit-Policy")).toBe('"requests";q=3;w=1');
  expect(refused?.headers.get("RateLimit")).toBe('"requests";r=0;t=1');
  const passed = responses.find(({ status }) => status === 200);
  expect(passed?.headers.get("RateLimit")).toMatch(/^"requests";r=\d+$/);
  // Others are not in the way of each other.
  expect((await get(`${name}-free`)).headers.has("RateLimit")).toBe(false);
});

test("several isolates together have no more than one", async () => {
  const { name, get, newIsolate } = withQuota(40);
  const isolates = [newIsolate(), newIsolate(), newIsolate()];
  const calls = isolates.flatMap((isolate) =>
    Array.from({ length: 30 }, async () => get(name, "/session", isolate)),
  );
  const startedAtMs = Date.now();
  const passed = (await Promise.all(calls)).filter(({ status }) => status === 200).length;
  const seconds = (Date.now() - startedAtMs) / 1_000;
  expect(passed).toBeLessThanOrEqual(40 * (seconds + 1));
  // Each may have two left that it has not used.
  expect(passed).toBeGreaterThanOrEqual(40 - 3 * 2);
});

test("whoever waits as it was told comes through", async () => {
  const { get } = withQuota(2);
  await Promise.all([get(), get(), get()]);
  const refused = await get();
  expect(refused.status).toBe(429);
  await scheduler.wait(Number(refused.headers.get("Retry-After")) * 1_000);
  expect((await get()).status).toBe(200);
});

test("all tokens together have a quota too", async () => {
  const { name, get } = withQuota(undefined, { requests_per_second: 2 });
  const responses = await Promise.all([get(), get(`${name}-free`), get(), get(`${name}-free`)]);
  expect(statusesOf(responses)).toEqual([200, 200, 429, 429]);
  const refused = responses.find(({ status }) => status === 429);
  expect(refused?.headers.get("RateLimit-Policy")).toBe('"requests-of-all";q=2;w=1');
});

test("a quota below one a second is counted over as long as one takes", async () => {
  const { get } = withQuota(0.05);
  expect((await get()).status).toBe(200);
  const refused = await get();
  expect(refused.headers.get("RateLimit-Policy")).toBe('"requests";q=1;w=20');
  expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(15);
});

test("a busy isolate asks for many requests at once; without a quota, nobody is asked", async () => {
  const asked = async (action: () => Promise<unknown>) => {
    const before = platform.total.objectRequests;
    await action();
    return platform.total.objectRequests - before;
  };
  const { name, get } = withQuota(200);
  const open = await asked(async () => get(`${name}-free`, "/session"));
  const first = await asked(async () => get(name, "/session"));
  const next = await asked(async () =>
    Promise.all(Array.from({ length: 10 }, async () => get(name, "/session"))),
  );
  expect([open, first, next]).toEqual([0, 1, 0]);
});

test("an isolate that was refused asks no more for a while, however many requests come", async () => {
  const { get } = withQuota(1);
  await Promise.all([get(), get()]);
  const before = platform.total.objectRequests;
  const refused = await Promise.all(Array.from({ length: 50 }, async () => get()));
  expect(statusesOf(refused)).toEqual(Array(50).fill(429));
  expect(platform.total.objectRequests).toBe(before);
});

test("where the object does not respond, requests are let through, and the log says so", async () => {
  const { get } = withQuota(1);
  const { faults } = platform;
  const own = new Faults();
  own.add({ kind: "overloaded", binding: "REQUEST_RATE" });
  faults.apply = async (made, make) => own.apply(made, make);
  try {
    const { value, lines } = await captureLogs(async () => Promise.all([get(), get(), get()]));
    expect(statusesOf(value)).toEqual([200, 200, 200]);
    const message = "a rate of requests could not be checked: the request is let through";
    expect(lines).toContainEqual(expect.objectContaining({ level: "warn", message }));
  } finally {
    Reflect.deleteProperty(faults, "apply");
  }
});
