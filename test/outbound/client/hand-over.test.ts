/** A permit on its way from one call to the next: exactly one has it, and whoever is dead does not keep it. */
import { env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { acquirePermit } from "../../../src/outbound/client/acquire-permit.ts";
import { LEASE_MS, Offer, SharedLease } from "../../../src/outbound/client/hand-over.ts";
import { Line, type Successor } from "../../../src/outbound/client/isolate.ts";
import { Place } from "../../../src/outbound/client/place.ts";
import type { WaitResult } from "../../../src/outbound/semaphore/ticket.ts";
import type { Priority } from "../../../src/outbound/semaphore/wait-queue.ts";
import { readUpstreams } from "../../../src/outbound/upstreams.ts";
import { wrapEnv } from "../../support/platform/bindings.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";

const OK = { outcome: "ok" } as const;
const newLease = (leftMs = LEASE_MS) => new SharedLease({ id: "a", fence: 1 }, Date.now() + leftMs);

/** Stands in a line. `take`: what it does with an offer. */
const stand = (
  line: Line,
  turn: number,
  take: (offer: Offer) => void = (offer) => offer.take(),
  priority: Priority = "interactive",
) => {
  const successor: Successor & { offers: number } = {
    priority,
    turn,
    offers: 0,
    offer: (offer) => {
      successor.offers++;
      take(offer);
    },
  };
  line.join(successor);
  return successor;
};

describe("an offer", () => {
  test("is taken once, and then no longer withdrawn", async () => {
    const lease = newLease();
    const offer = new Offer(lease, OK);
    expect([offer.take(), offer.take()]).toEqual([1, undefined]);
    offer.decline();
    expect(await offer.isTaken()).toBe(true);
    expect(lease.describe(1)).toEqual({ leaseId: "a", number: 1, ended: [{ after: 0, feedback: OK }] });
  });

  test("that nobody takes is withdrawn soon, and then not to be had", async () => {
    const offer = new Offer(newLease(), OK);
    expect(await offer.isTaken()).toBe(false);
    expect(offer.take()).toBeUndefined();
  });

  test("of a lease that is about to end is not to be had", async () => {
    const offer = new Offer(newLease(1_000), OK);
    expect(offer.take()).toBeUndefined();
    expect(await offer.isTaken()).toBe(false);
  });
});

describe("a line", () => {
  test("hands on in turn, past the dead and those that decline", async () => {
    const line = new Line();
    const third = stand(line, 3);
    const dead = stand(line, 1, () => {});
    const declines = stand(line, 2, (offer) => offer.decline());
    const lease = newLease();
    expect(await line.handOn(lease, OK)).toBe(true);
    expect([dead.offers, declines.offers, third.offers, lease.handOvers]).toEqual([1, 1, 1, 1]);
    expect(await line.handOn(lease, OK)).toBe(false);
  });

  test("hands on nothing that is about to end, and nothing to those that left or were cleared", async () => {
    const line = new Line();
    const [a, b] = [stand(line, 1), stand(line, 2)];
    expect(await line.handOn(newLease(3_000), OK)).toBe(false);
    line.leave(a);
    line.clear();
    expect(await line.handOn(newLease(), OK)).toBe(false);
    expect([a.offers, b.offers]).toEqual([0, 0]);
  });

  test("gives one turn of five to background work while both wait", () => {
    const line = new Line();
    for (let turn = 0; turn < 8; turn++) stand(line, turn);
    for (let turn = 0; turn < 2; turn++) stand(line, turn, undefined, "background");
    const order = Array.from({ length: 10 }, () => line.takeNext()?.priority[0]).join("");
    expect(order).toBe("iiiibiiiib");
  });
});

test("a successor that is woken too late for an offer has its turn again, and loses it when it is told so", async () => {
  const line = new Line();
  const place = new Place("interactive", line);
  const told = Promise.withResolvers<WaitResult>();
  const waits = [told.promise, new Promise<WaitResult>(() => {})];
  const waiting = place.wait(async () => waits.shift() ?? { is: "gone" }, 1);
  stand(line, 2);
  expect(line.takeNext()).toBe(place);
  const offer = new Offer(newLease(), OK);
  offer.decline();
  place.offer(offer);
  await scheduler.wait(0);
  expect(line.takeNext()).toBe(place);
  told.resolve({ is: "told" });
  await scheduler.wait(0);
  expect(line.takeNext()).not.toBe(place);
  const last = new Offer(newLease(), OK);
  place.offer(last);
  expect(await waiting).toMatchObject({ is: "taken", number: 1 });
});

describe("what the semaphore is told", () => {
  test("has all calls that have ended, until it has heard of them", async () => {
    const lease = newLease();
    lease.handOn(OK);
    lease.handOn(undefined);
    lease.handOn({ outcome: "unknown" });
    expect(lease.describe(2).ended).toEqual([{ after: 0, feedback: OK }]);
    lease.onHeard(1, 7, Date.now());
    expect(lease.describe(3).ended).toEqual([{ after: 2, feedback: { outcome: "unknown" } }]);
    expect(lease.fence).toBe(7);
  });

  test("is waited for, but not for ever", async () => {
    const lease = newLease();
    const heard = lease.untilHeard(1, 10_000);
    lease.onHeard(2, 1, 0);
    await heard;
    await lease.untilHeard(3, 20);
  });

  test("never shortens nor prolongs a lease beyond its holder's last sign of life", () => {
    const lease = newLease(5_000);
    const before = lease.endsAtMs;
    lease.handOn(OK);
    expect(lease.endsAtMs).toBe(before);
    lease.onHeard(1, 1, before - 1);
    expect(lease.endsAtMs).toBe(before);
  });
});

describe("callers of one isolate", () => {
  const simulated = wrapEnv({ ...env });
  keepQuiet();
  beforeEach(async () => reset());
  afterEach(() => platform.reset());
  const acquire = async (signal = new AbortController().signal) => {
    const upstream = readUpstreams(simulated).get("client-single");
    if (!upstream) throw new Error("no such upstream");
    const options = { name: "a", holder: "test", priority: "interactive", isRetry: false, signal } as const;
    return acquirePermit(simulated, upstream, options);
  };
  const status = async () => env.SEMAPHORE.getByName("client-single").status();
  const untilWaiting = async (count: number) =>
    vi.waitFor(async () => expect((await status()).waiting.count).toBe(count));

  test("hand their permit on, in their order", async () => {
    const first = await acquire();
    const second = acquire();
    await untilWaiting(1);
    const third = acquire();
    await untilWaiting(2);
    await scheduler.wait(50); // the waiters know that they are successors
    const released = first.release(OK);
    const next = await second;
    await released;
    const releasedToo = next.release(OK);
    const last = await third;
    await releasedToo;
    await vi.waitFor(() => expect(last.fence).toBe(3));
    await last.release(OK);
    expect(await status()).toMatchObject({ held: { count: 0 }, totals: { granted: 3, handedOn: 2 } });
  });

  test("hand on nothing after a call that failed", async () => {
    const first = await acquire();
    const second = acquire();
    await untilWaiting(1);
    await scheduler.wait(50);
    await first.release({ outcome: "failed" });
    await (await second).release(OK);
    expect((await status()).totals).toMatchObject({ handedOn: 0, outcomes: { ok: 1, failed: 1 } });
  });

  test("pass over one that has gone away", async () => {
    const first = await acquire();
    const going = new AbortController();
    const second = acquire(going.signal);
    await untilWaiting(1);
    const third = acquire();
    await untilWaiting(2);
    going.abort();
    await expect(second).rejects.toThrow();
    await first.release(OK);
    await (await third).release(OK);
    expect(await status()).toMatchObject({ held: { count: 0 }, waiting: { count: 0 } });
  });

  test("wait and release by id at an object of an older version, whose tickets have no methods", async () => {
    const first = await acquire();
    platform.faults.add({ kind: "older", binding: "SEMAPHORE", method: "wait", times: 1 });
    const second = acquire();
    await untilWaiting(1);
    platform.faults.add({ kind: "older", binding: "SEMAPHORE", method: "release", times: 1 });
    await first.release({ outcome: "unknown" });
    const permit = await second;
    platform.faults.add({ kind: "older", binding: "SEMAPHORE", method: "release", times: 1 });
    await permit.release(OK);
    expect(await status()).toMatchObject({ held: { count: 0 }, waiting: { count: 0 } });
  });
});
