/** The Durable Object around the rules: tickets, waits, and what is left after a restart. */
import { abortAllDurableObjects, env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { captureLogs } from "../../support/call.ts";

const LEASE_MS = 60_000;

/** The semaphore of an upstream with a concurrency of one, on a stub that no restart has broken. */
const single = () => env.SEMAPHORE.getByName("single");
const ABOUT = { holder: "test", priority: "interactive", isRetry: false } as const;
const acquire = (leaseId: string, leaseMs = LEASE_MS) => single().acquire({ ...ABOUT, leaseId, leaseMs });
const heldAndWaiting = async () => {
  const { held, waiting } = await single().status();
  return [held.leases.map((lease) => lease.id), waiting.callers.map((caller) => caller.id)];
};

beforeEach(() => reset());

test("grants at once, then queues, and grants the next when a permit is given back", async () => {
  expect((await acquire("a")).is).toBe("granted");
  expect((await acquire("b")).is).toBe("queued");
  const waiting = single().wait("b");
  await single().release("a");
  expect(await waiting).toMatchObject({ is: "granted", lease: { id: "b" } });
  expect(await heldAndWaiting()).toEqual([["b"], []]);
});

test("a wait that begins after the grant is answered at once", async () => {
  await acquire("a");
  await acquire("b");
  await single().release("a");
  expect((await single().wait("b")).is).toBe("granted");
});

test("waiting without having queued is refused: ask again", async () => {
  expect((await single().wait("nobody")).is).toBe("gone");
});

test("more than max_waiters are refused", async () => {
  const answers = [];
  for (const id of ["a", "b", "c", "d"]) answers.push((await acquire(id)).is);
  expect(answers).toEqual(["granted", "queued", "queued", "refused"]);
});

test("the wait limit ends a wait", async () => {
  const semaphore = env.SEMAPHORE.getByName("short-wait");
  await semaphore.acquire({ ...ABOUT, leaseId: "a", leaseMs: LEASE_MS });
  await semaphore.acquire({ ...ABOUT, leaseId: "b", leaseMs: LEASE_MS });
  expect(await semaphore.wait("b")).toMatchObject({ is: "refused", why: "wait-limit" });
  expect((await semaphore.status()).waiting.count).toBe(0);
});

describe("a ticket that is disposed, as the runtime does when its holder dies,", () => {
  test("gives the permit back", async () => {
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

  test("means nothing once its holder has asked again", async () => {
    const first = await acquire("a");
    await acquire("a");
    if (first.is === "refused") throw new Error("refused");
    first.ticket[Symbol.dispose]();
    await scheduler.wait(50);
    expect(await heldAndWaiting()).toEqual([["a"], []]);
  });
});

test("whoever waits is served also when the clock had been set for a lease that is long gone", async () => {
  await captureLogs(async () => {
    await acquire("first", 200);
    await acquire("second", 60_000);
    await single().release("first");
    await acquire("second", 300); // renewed, for less
    await acquire("third");
    expect((await single().wait("third")).is).toBe("granted");
  });
});

test("a lease that nobody gives back ends with its time, and is logged", async () => {
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

  test("lets those who queued ask again, and stand where they stood", async () => {
    await acquire("a");
    const b = await acquire("b");
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan((b as { arrivedAtMs: number }).arrivedAtMs));
    await abortAllDurableObjects();
    await acquire("newcomer");
    await single().acquire({
      ...ABOUT,
      leaseId: "b",
      leaseMs: LEASE_MS,
      arrivedAtMs: (b as { arrivedAtMs: number }).arrivedAtMs,
    });
    expect(await heldAndWaiting()).toEqual([["a"], ["b", "newcomer"]]);
  });

  test("does not take a fence back, not even when no lease is left", async () => {
    const first = await acquire("a");
    await single().release("a");
    await abortAllDurableObjects();
    const second = await acquire("b");
    if (first.is !== "granted" || second.is !== "granted") throw new Error("not granted");
    expect(second.lease.fence).toBeGreaterThan(first.lease.fence);
  });
});
