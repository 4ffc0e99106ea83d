/** The figures of a semaphore: what they count outlives its object. */
import { abortAllDurableObjects, env, evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { beforeEach, expect, test, vi } from "vitest";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { acquireFrom } from "../../support/upstreams.ts";

const single = () => env.SEMAPHORE.getByName("single");
const acquire = async (leaseId: string) => acquireFrom("single", leaseId, { leaseMs: 60_000 });
const read = async () => single().figures();

/** What is in the storage. */
const keptCounts = async () =>
  runInDurableObject(single(), (_, { storage }) => storage.kv.get<{ counts: object }>("tally")?.counts);

beforeEach(() => reset());

test("counts calls by outcome, refusals, waits and grants; and says how things are now", async () => {
  await read();
  for (const id of ["a", "b", "c", "d"]) await acquire(id);
  await single().release("a", { outcome: "ok" });
  const { counts, gauges } = await read();
  expect(counts).toMatchObject({ "calls|ok": 1, "refusals|queue-full": 1, granted: 2 });
  const waits = Object.entries(counts).filter(([key]) => /^wait\|\d+$/.test(key));
  expect(waits.reduce((sum, [, count]) => sum + count, 0)).toBe(2);
  expect(gauges).toMatchObject({
    "in-use": 1,
    limit: 1,
    paused: 0,
    "waiters|interactive": 1,
    "waiters|background": 0,
    "breaker|closed": 1,
    "breaker|open": 0,
  });
});

test("what was counted is there after an eviction", async () => {
  await read();
  const acquired = await acquire("a");
  await single().release("a", { outcome: "failed" });
  acquired[Symbol.dispose]();
  await vi.waitFor(async () => expect(await keptCounts()).toMatchObject({ "calls|failed": 1 }), 10_000);
  await evictDurableObject(single());
  expect((await read()).counts).toMatchObject({ "calls|failed": 1, "wait|0": 1, granted: 1 });
});

test("a crash loses what was counted in the last seconds, but no grant", async () => {
  await read();
  await acquire("a");
  await single().release("a", { outcome: "ok" });
  await abortAllDurableObjects();
  const { counts } = await read();
  expect([counts.granted, counts["calls|ok"] ?? 0]).toEqual([1, 0]);
});

test("pauses, by who has asked for them; a pause that is prolonged is one", async () => {
  await read();
  await acquire("a");
  await acquire("b");
  await single().release("a", { outcome: "overloaded", retryAfterMs: 60_000 });
  await single().configure({ concurrency: 2 });
  await single().release("b", { outcome: "overloaded", retryAfterMs: 90_000 });
  await single().configure({ paused: true });
  const { counts, gauges } = await read();
  expect([counts["pauses|upstream"], counts["pauses|operator"], gauges.paused]).toEqual([1, 1, 1]);
});

test("a breaker that opens is counted once", async () => {
  await read();
  await single().configure({ concurrency: 20 });
  for (let n = 0; n < 12; n++) await acquire(`f${n}`);
  for (let n = 0; n < 12; n++) await single().release(`f${n}`, { outcome: "failed" });
  const { counts, gauges } = await read();
  expect([counts["breaker-opened"], gauges["breaker|open"], gauges["breaker|closed"]]).toEqual([1, 1, 0]);
});

expectRuntimeErrors("Application called abortAllDurableObjects");
