/** The caller's side of a permit: it is renewed while the call lasts, and its loss ends the call. */
import { env } from "cloudflare:test";
import { test } from "vitest";
import { acquirePermit } from "../../../src/outbound/client/acquire-permit.ts";
import { readUpstreams } from "../../../src/outbound/upstreams.ts";
import { keepQuiet } from "../../support/quiet.ts";

/** A lease is renewed every three seconds. */
const PAST_A_RENEWAL_MS = 3_500;

keepQuiet();

async function acquire(name: string) {
  const upstream = readUpstreams(env).get(name);
  if (!upstream) throw new Error("no such upstream");
  const { signal } = new AbortController();
  return acquirePermit(env, upstream, {
    name: "a",
    holder: "test",
    priority: "background",
    isRetry: false,
    signal,
  });
}

const heldNow = async (name: string) => (await env.SEMAPHORE.getByName(name).status()).held;

test.concurrent("a permit is renewed while its call lasts, under the same fence", async ({ expect }) => {
  const permit = await acquire("single");
  const before = (await heldNow("single")).leases[0];
  await scheduler.wait(PAST_A_RENEWAL_MS);
  const after = (await heldNow("single")).leases[0];
  expect([after?.id, after?.fence]).toEqual([before?.id, permit.fence]);
  expect(Date.parse(String(after?.until)) - Date.parse(String(before?.until))).toBeGreaterThanOrEqual(2_900);
  expect(permit.signal.aborted).toBe(false);
  await permit.release({ outcome: "ok" });
  expect((await heldNow("single")).count).toBe(0);
});

test.concurrent("losing a permit ends its call, and no other permit takes its place", async ({ expect }) => {
  const permit = await acquire("client-single");
  const [lease] = (await heldNow("client-single")).leases;
  await env.SEMAPHORE.getByName("client-single").release(String(lease?.id));
  await expect.poll(() => permit.signal.aborted, { timeout: 5_000 }).toBe(true);
  await expect.poll(async () => (await heldNow("client-single")).count).toBe(0);
  await permit.release({ outcome: "unknown" });
});
