/** A permit that is handed on within an isolate, as its object sees it: tickets, fences, restarts, other versions. */
import { abortAllDurableObjects, env, reset } from "cloudflare:test";
import { beforeEach, expect, test, vi } from "vitest";
import type { HandOver } from "../../../src/outbound/semaphore/permit-types.ts";
import { acquireFrom } from "../../support/upstreams.ts";

const single = () => env.SEMAPHORE.getByName("single");
const heldNow = async () => (await single().status()).held.leases.map(({ id }) => id);
/** Of the call under lease `a`, which has ended well. */
const firstHandOver: HandOver = {
  leaseId: "a",
  number: 1,
  ended: [{ after: 0, feedback: { outcome: "ok" } }],
};

async function holdOf(leaseId: string, isolate = "one") {
  const acquired = await acquireFrom("single", leaseId, { isolate });
  if (acquired.is !== "granted") throw new Error(`${leaseId} has no permit.`);
  return acquired;
}

async function queue(leaseId: string, change: object = { isolate: "one" }) {
  const acquired = await acquireFrom("single", leaseId, change);
  if (acquired.is !== "queued") throw new Error(`${leaseId} does not wait.`);
  return acquired;
}

beforeEach(() => reset());

test("is the taker's from then on: a greater fence, its own ticket, and the feedback of the call before", async () => {
  const a = await holdOf("a");
  const b = await queue("b");
  expect(b.turn).toBe(1);
  const lease = await b.ticket.takeOver(firstHandOver);
  expect(lease).toMatchObject({ id: "a", handOvers: 1, holder: "holder of b" });
  expect(lease?.fence).toBeGreaterThan(a.lease.fence);
  a.ticket[Symbol.dispose](); // of no effect
  const { held, waiting, totals } = await single().status();
  expect([held.count, waiting.count]).toEqual([1, 0]);
  expect(totals).toMatchObject({ granted: 2, handedOn: 1, outcomes: { ok: 1, unknown: 0 } });
  b.ticket[Symbol.dispose]();
  await vi.waitFor(async () => expect(await heldNow()).toEqual([]));
});

test("is renewed and released by the taker's ticket, and by nobody who had it before", async () => {
  const a = await holdOf("a");
  const b = await queue("b");
  const taken = await b.ticket.takeOver(firstHandOver);
  expect(await a.ticket.renew()).toBeUndefined();
  const renewed = await b.ticket.renew();
  expect([renewed?.id, renewed?.fence]).toEqual(["a", taken?.fence]);
  await b.ticket.release({ outcome: "ok" }, "a");
  expect(await heldNow()).toEqual([]);
});

test("stays held while its holder has gone and a waiter may have taken it over, and comes back when none has", async () => {
  const a = await holdOf("a");
  const b = await queue("b");
  a.ticket[Symbol.dispose]();
  const other = await queue("other", { isolate: "two" });
  expect(await heldNow()).toEqual(["a"]);
  expect((await b.ticket.wait()).is).toBe("told"); // no longer a successor
  expect(await b.ticket.wait()).toMatchObject({ is: "granted", lease: { id: "b" } });
  b.ticket[Symbol.dispose]();
  expect(await other.ticket.wait()).toMatchObject({ is: "granted", lease: { id: "other" } });
});

test("comes back at once when its holder and all that may have taken it over die together", async () => {
  const a = await holdOf("a");
  const b = await queue("b");
  const other = await queue("other", { isolate: "two" });
  a.ticket[Symbol.dispose]();
  b.ticket[Symbol.dispose]();
  expect(await other.ticket.wait()).toMatchObject({ is: "granted", lease: { id: "other" } });
});

test("is known after a restart, whether the semaphore had heard of it or not", async () => {
  await holdOf("a");
  await queue("b");
  await abortAllDurableObjects();
  const handOver = { ...firstHandOver, waitedAs: "b" };
  const again = await acquireFrom("single", "a", { isolate: "one", handOver });
  expect(again).toMatchObject({ is: "granted", lease: { id: "a", handOvers: 1 } });
  await abortAllDurableObjects();
  const repeated = await acquireFrom("single", "a", { isolate: "one", handOver });
  expect(repeated).toMatchObject({ is: "granted", lease: { id: "a", handOvers: 1 } });
  expect(await heldNow()).toEqual(["a"]);
});

test("whose word comes late changes nothing for the one that has it now", async () => {
  await holdOf("a");
  const [b, c] = [await queue("b"), await queue("c")];
  const taken = await c.ticket.takeOver({ ...firstHandOver, number: 2 });
  expect(await b.ticket.takeOver(firstHandOver)).toMatchObject({ handOvers: 2, fence: taken?.fence });
  b.ticket[Symbol.dispose]();
  expect(await heldNow()).toEqual(["a"]);
  expect((await single().status()).totals.outcomes.ok).toBe(1);
});

test("is not to be had when its lease has ended", async () => {
  await holdOf("a");
  const b = await queue("b");
  await single().release("a");
  expect(await b.ticket.takeOver(firstHandOver)).toBeUndefined();
  const gone = await acquireFrom("single", "x", { handOver: { ...firstHandOver, waitedAs: "x" } });
  expect(gone.is).toBe("refused");
});

test("is kept by a taker that is granted another just then, until it returns that one", async () => {
  await holdOf("a");
  const b = await queue("b");
  await single().configure({ concurrency: 2 });
  await b.ticket.takeOver(firstHandOver);
  expect((await heldNow()).toSorted()).toEqual(["a", "b"]);
  b.ticket[Symbol.dispose]();
  await vi.waitFor(async () => expect(await heldNow()).toEqual([]));
});

test("goes to nobody that does not say where it is, nor to anybody while the upstream is paused or at a rate", async () => {
  await holdOf("a");
  expect((await queue("older", {})).turn).toBeUndefined();
  await single().release("older");
  expect((await queue("b")).turn).toBeDefined();
  const told = (async () =>
    (await single().configure({ rate: { perSecond: 1000, burst: 10 } })).waiting.count)();
  expect(await told).toBe(1);
  expect((await queue("c")).turn).toBeUndefined();
});
