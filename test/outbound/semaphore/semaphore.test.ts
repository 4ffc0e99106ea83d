/** The Durable Object around the rules: tickets, waits, and what survives a restart. */
import { abortAllDurableObjects, env, evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Feedback } from "../../../src/outbound/semaphore/permit-types.ts";
import { captureLogs } from "../../support/call.ts";
import { platform } from "../../support/platform/platform.ts";
import { acquireFrom } from "../../support/upstreams.ts";

const LEASE_MS = 60_000;

/** The semaphore of an upstream with a concurrency of one, on a fresh stub. */
const single = () => env.SEMAPHORE.getByName("single");
const acquire = async (leaseId: string, leaseMs = LEASE_MS) => acquireFrom("single", leaseId, { leaseMs });
const heldAndWaiting = async () => {
  const { held, waiting } = await single().status();
  return [held.leases.map((lease) => lease.id), waiting.callers.map((caller) => caller.id)];
};

beforeEach(() => reset());

test("grants at once, then queues, and grants the next when a permit is released", async () => {
  expect((await acquire("a")).is).toBe("granted");
  expect((await acquire("b")).is).toBe("queued");
  const waiting = single().wait("b");
  await single().release("a");
  expect(await waiting).toMatchObject({ is: "granted", lease: { id: "b" } });
  expect(await heldAndWaiting()).toEqual([["b"], []]);
});

test("a wait that begins after the grant resolves at once", async () => {
  await acquire("a");
  await acquire("b");
  await single().release("a");
  expect((await single().wait("b")).is).toBe("granted");
});

test("waiting without being queued resolves to gone", async () => {
  expect((await single().wait("nobody")).is).toBe("gone");
});

test("more than max_waiters are refused", async () => {
  const results = [];
  for (const id of ["a", "b", "c", "d"]) results.push((await acquire(id)).is);
  expect(results).toEqual(["granted", "queued", "queued", "refused"]);
});

test("a wait ends at the wait limit", async () => {
  const semaphore = env.SEMAPHORE.getByName("short-wait");
  await acquireFrom("short-wait", "a");
  await acquireFrom("short-wait", "b");
  expect(await semaphore.wait("b")).toMatchObject({ is: "refused", reason: "wait-limit" });
  expect((await semaphore.status()).waiting.count).toBe(0);
});

describe("disposing a ticket, as the runtime does when its holder dies,", () => {
  test("releases the permit", async () => {
    const a = await acquire("a");
    if (a.is === "refused") throw new Error("refused");
    await acquire("b");
    const waiting = single().wait("b");
    a.ticket[Symbol.dispose]();
    expect((await waiting).is).toBe("granted");
  });

  test("leaves the queue, and ends the wait", async () => {
    await acquire("a");
    const b = await acquire("b");
    if (b.is === "refused") throw new Error("refused");
    const waiting = single().wait("b");
    b.ticket[Symbol.dispose]();
    expect(await waiting).toEqual({ is: "gone" });
    expect(await heldAndWaiting()).toEqual([["a"], []]);
  });

  test("has no effect once its holder has acquired again", async () => {
    const first = await acquire("a");
    await acquire("a");
    if (first.is === "refused") throw new Error("refused");
    first.ticket[Symbol.dispose]();
    await scheduler.wait(50);
    expect(await heldAndWaiting()).toEqual([["a"], []]);
  });
});

test("a waiter is served even if the timer was set for a lease that no longer exists", async () => {
  await captureLogs(async () => {
    await acquire("first", 200);
    await acquire("second", 60_000);
    await single().release("first");
    await acquire("second", 300); // renewed, for less
    await acquire("third");
    expect((await single().wait("third")).is).toBe("granted");
  });
});

test("a lease that nobody releases expires, and is logged", async () => {
  const { lines } = await captureLogs(async () => {
    await acquire("frozen", 100);
    await acquire("b");
    expect((await single().wait("b")).is).toBe("granted");
  });
  expect(lines).toEqual([
    expect.objectContaining({
      level: "warn",
      upstream: "single",
      lease: expect.objectContaining({ id: "frozen" }),
    }),
  ]);
});

describe("a restart", () => {
  test("keeps the leases that were granted", async () => {
    const before = await acquire("a");
    await abortAllDurableObjects();
    expect(await heldAndWaiting()).toEqual([["a"], []]);
    expect((await acquire("b")).is).toBe("queued");
    const again = await acquire("a");
    if (before.is !== "granted" || again.is !== "granted") throw new Error("not granted");
    expect(again.lease).toEqual({ ...before.lease, endsAtMs: again.lease.endsAtMs });
    expect(again.lease.endsAtMs).toBeGreaterThanOrEqual(before.lease.endsAtMs);
    await single().release("a");
    expect((await single().wait("b")).is).toBe("granted");
  });

  test("lets queued callers ask again and keep their places", async () => {
    await acquire("a");
    const b = await acquire("b");
    if (b.is !== "queued") throw new Error("not queued");
    const { arrivedAtMs } = b;
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(arrivedAtMs));
    await abortAllDurableObjects();
    await acquire("newcomer");
    await acquireFrom("single", "b", { arrivedAtMs });
    expect(await heldAndWaiting()).toEqual([["a"], ["b", "newcomer"]]);
  });

  test("never reuses a fence, even when no lease is left", async () => {
    const first = await acquire("a");
    await single().release("a");
    await abortAllDurableObjects();
    const second = await acquire("b");
    if (first.is !== "granted" || second.is !== "granted") throw new Error("not granted");
    expect(second.lease.fence).toBeGreaterThan(first.lease.fence);
  });
});

describe("an object that is evicted after each call, since the next comes 15 seconds later,", () => {
  let calls = 0;
  // The reset before each test empties objects that are in memory only.
  afterEach(async () => void (await single().status()));
  const callAndEvict = async (feedback: Feedback) => {
    const leaseId = `call-${calls++}`;
    const request = {
      leaseId,
      holder: "",
      priority: "interactive",
      leaseMs: LEASE_MS,
      isRetry: false,
    } as const;
    const acquired = await single().acquire(request);
    const { is } = acquired;
    const mayRetry = is === "granted" && (await single().release(leaseId, feedback));
    acquired[Symbol.dispose](); // an object that is referred to is not evicted
    await evictDurableObject(single());
    return { is, mayRetry };
  };

  test("trips when the upstream always fails", async () => {
    for (let call = 0; call < 10; call++)
      expect((await callAndEvict({ outcome: "failed" })).is).toBe("granted");
    expect((await single().status()).breaker).toBe("open");
    expect((await callAndEvict({ outcome: "failed" })).is).toBe("refused");
  });

  test("trips when half of the latest calls fail, and not when fewer do", async () => {
    for (let call = 0; call < 11; call++) await callAndEvict({ outcome: call % 3 === 0 ? "failed" : "ok" });
    expect((await single().status()).breaker).toBe("closed");
    for (let call = 0; call < 3; call++) await callAndEvict({ outcome: "failed" });
    expect((await single().status()).breaker).toBe("open");
  });

  test("allows one retry for ten calls, after the reserve of ten", async () => {
    const retries = [];
    for (let call = 0; call < 22; call++)
      retries.push((await callAndEvict({ outcome: "unknown", wantsRetry: true })).mayRetry);
    expect(retries.filter(Boolean)).toHaveLength(12);
  });

  test("writes nothing but the lease while the upstream is healthy, and one row more while it is not", async () => {
    const rowsOf = async (outcome: Feedback["outcome"]) =>
      (await platform.measure(async () => callAndEvict({ outcome }))).rowsWritten;
    await rowsOf("ok"); // its first call writes the state
    const healthy = await rowsOf("ok");
    expect(await rowsOf("ok")).toBe(healthy);
    expect(await rowsOf("failed")).toBe(healthy + 1);
    expect(await rowsOf("ok")).toBe(healthy + 1);
  });

  test("goes on from the state of a version that kept less", async () => {
    await callAndEvict({ outcome: "ok" });
    await runInDurableObject(single(), (_, { storage }) => {
      const state = JSON.stringify({
        throttle: { pausedUntilMs: 0, rampFromMs: 0, adaptiveLimit: 1 },
        breaker: { isOpen: false, reopensAtMs: 0, openForMs: 0, probe: null },
        dueAtMs: 0,
      });
      storage.sql.exec("UPDATE note SET json = ? WHERE name = 'permits'", state);
    });
    await evictDurableObject(single());
    for (let call = 0; call < 10; call++) await callAndEvict({ outcome: "failed", wantsRetry: true });
    expect((await single().status()).breaker).toBe("open");
  });
});
