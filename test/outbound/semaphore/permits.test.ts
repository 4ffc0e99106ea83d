/** The rules of the semaphore: examples of each, then thousands of random histories that must keep the invariants. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type {
  Feedback,
  Lease,
  PermitRequest,
  PermitsState,
} from "../../../src/outbound/semaphore/permit-types.ts";
import { Permits } from "../../../src/outbound/semaphore/permits.ts";
import type { Priority, QueueShare } from "../../../src/outbound/semaphore/wait-queue.ts";
import type { Settings } from "../../../src/outbound/settings.ts";

const SETTINGS: Settings = {
  concurrency: 2,
  rate: undefined,
  adaptive: false,
  isPaused: false,
  maxWaiters: 3,
  maxWaitMs: 100,
  maxPasses: 4,
  maxPassMs: 60,
};
const OK: Feedback = { outcome: "ok" };
const FAILED: Feedback = { outcome: "failed" };

const lease = (id: string, fence = 1): Lease => ({
  id,
  fence,
  holder: "",
  isProbe: false,
  grantedAtMs: 0,
  endsAtMs: 1000,
  handOvers: 0,
});
const create = (change: Partial<Settings> = {}, held: Lease[] = [], atMs = -1000, state?: PermitsState) =>
  new Permits(
    { ...SETTINGS, ...change },
    { atMs, held, lastFence: Math.max(0, ...held.map((l) => l.fence)), state },
  );
const request = (permits: Permits, leaseId: string, nowMs: number, change: Partial<PermitRequest> = {}) => {
  permits.advance(nowMs);
  return permits.request(
    { leaseId, holder: "", priority: "interactive", isRetry: false, leaseMs: 50, ...change },
    nowMs,
  );
};
const release = (permits: Permits, leaseId: string, nowMs: number, feedback = OK) => {
  const released = permits.release(leaseId, feedback, nowMs, 0);
  return { released, ...permits.advance(nowMs) };
};
const ids = (leases: { id: string }[]) => leases.map(({ id }) => id);

describe("a permit", () => {
  test("is granted at once while any are free; then callers queue; then they are refused", () => {
    const permits = create();
    const decisions = ["a", "b", "c", "d", "e", "f"].map((id) => request(permits, id, 0));
    expect(decisions.map(({ is }) => is)).toEqual([
      "granted",
      "granted",
      "queued",
      "queued",
      "queued",
      "refused",
    ]);
    expect(decisions.at(-1)).toMatchObject({ reason: "queue-full", retryAfterMs: expect.any(Number) });
  });

  test("is waited for by at most a share of each name, also after some of its calls have gone", () => {
    const permits = create({ concurrency: 1, maxWaiters: 10 });
    const ask = (id: string, of: string) => request(permits, id, 0, { share: { of, maxWaiting: 2 } });
    expect(["a", "b", "c"].map((id) => ask(id, "greedy").is)).toEqual(["granted", "queued", "queued"]);
    expect(ask("d", "greedy")).toMatchObject({ is: "refused", reason: "too-many-requests" });
    expect(ask("e", "modest").is).toBe("queued");
    expect(ask("b", "greedy").is).toBe("queued"); // the same call again
    release(permits, "c", 1);
    expect(ask("f", "greedy").is).toBe("queued");
    release(permits, "a", 2); // b is granted its permit, and waits no longer
    expect(ask("g", "greedy").is).toBe("queued");
    expect(ask("h", "greedy")).toMatchObject({ is: "refused", reason: "too-many-requests" });
  });

  test("that is released goes to the first in the queue", () => {
    const permits = create();
    for (const id of ["a", "b", "c", "d"]) request(permits, id, 0);
    expect(ids(release(permits, "b", 1).granted)).toEqual(["c"]);
  });

  test("is not granted to a newcomer while another caller waits", () => {
    const permits = create();
    for (const id of ["a", "b", "c"]) request(permits, id, 0);
    permits.release("a", OK, 1, 0);
    expect(
      permits.request({ leaseId: "new", holder: "", priority: "interactive", isRetry: false, leaseMs: 50 }, 1)
        .is,
    ).toBe("queued");
    expect(ids(permits.advance(1).granted)).toEqual(["c"]);
  });

  test("expires to the millisecond, and goes to the next waiter", () => {
    const permits = create({ concurrency: 1 });
    request(permits, "a", 0);
    request(permits, "b", 10);
    expect(permits.outlook.nextChangeAtMs(10)).toBe(50);
    expect(permits.advance(49)).toEqual({ granted: [], expired: [], lost: [], refused: [], told: [] });
    const { expired, granted } = permits.advance(50);
    expect([ids(expired), ids(granted), granted[0]?.endsAtMs]).toEqual([["a"], ["b"], 100]);
  });

  test("is renewed by a request under its id, and keeps its fence", () => {
    const permits = create();
    expect(request(permits, "a", 0)).toMatchObject({
      is: "granted",
      isNew: true,
      lease: { fence: 1, endsAtMs: 50 },
    });
    expect(request(permits, "a", 40)).toMatchObject({
      is: "granted",
      isNew: false,
      lease: { fence: 1, grantedAtMs: 0, endsAtMs: 90 },
    });
    expect(permits.advance(89).expired).toEqual([]);
    expect(ids(permits.advance(90).expired)).toEqual(["a"]);
  });
});

describe("a waiter", () => {
  test("is refused at the wait limit, to the millisecond", () => {
    const permits = create({ concurrency: 1 });
    request(permits, "a", 0, { leaseMs: 1000 });
    request(permits, "b", 7);
    expect(permits.outlook.nextChangeAtMs(7)).toBe(107);
    expect(permits.advance(106).refused).toEqual([]);
    expect(permits.advance(107).refused).toMatchObject([{ waiter: { leaseId: "b" }, reason: "wait-limit" }]);
    expect(permits.outlook.nextChangeAtMs(107)).toBeUndefined();
  });

  test("may not wait at all with a wait limit of 0", () => {
    const permits = create({ concurrency: 1, maxWaitMs: 0 });
    expect(request(permits, "a", 0).is).toBe("granted");
    expect(request(permits, "b", 0)).toMatchObject({ is: "refused", reason: "wait-limit" });
  });

  test("that comes back after a restart keeps its place, before newcomers", () => {
    const permits = create({}, [lease("x")], 60);
    expect(request(permits, "newcomer", 60).is).toBe("queued");
    expect(permits.outlook.blockAt(60)).toEqual({ by: "restarted", untilMs: 210 });
    request(permits, "second", 61, { arrivedAtMs: 20 });
    request(permits, "first", 62, { arrivedAtMs: 10 });
    expect([...permits.queue].map((waiter) => waiter.leaseId)).toEqual(["first", "second", "newcomer"]);
  });

  test("that comes back after its wait limit is refused", () => {
    const permits = create({}, [lease("x"), lease("y", 2)]);
    expect(request(permits, "a", 100, { arrivedAtMs: 0 })).toMatchObject({
      is: "refused",
      reason: "wait-limit",
    });
    expect(request(permits, "b", 100, { arrivedAtMs: 1 }).is).toBe("queued");
  });

  test("cannot claim to have arrived later than now", () => {
    const permits = create({}, [lease("x"), lease("y", 2)]);
    expect(request(permits, "a", 5, { arrivedAtMs: 999 })).toEqual({ is: "queued", arrivedAtMs: 5 });
  });
});

test("after a restart leases are held and fences go on growing; without leases there is no grace period", () => {
  const permits = create({}, [lease("x", 7)]);
  expect(request(permits, "a", 0)).toMatchObject({ is: "granted", lease: { fence: 8 } });
  expect(request(permits, "b", 0).is).toBe("queued");
  expect(request(create({}, [], 0), "a", 0).is).toBe("granted");
});

test("a limit lowered below the number of holders lets them finish, and grants none until fewer hold one", () => {
  const permits = create({ concurrency: 3 });
  for (const id of ["a", "b", "c", "d"]) request(permits, id, 0);
  permits.configure({ ...SETTINGS, concurrency: 1 }, 1);
  expect(release(permits, "a", 1).granted).toEqual([]);
  expect(release(permits, "b", 1).granted).toEqual([]);
  expect(ids(release(permits, "c", 1).granted)).toEqual(["d"]);
});

describe("a pause", () => {
  test("that the upstream asks for blocks everybody, and is followed by a ramp", () => {
    const permits = create({ concurrency: 5, maxWaitMs: 60_000 });
    request(permits, "a", 0);
    release(permits, "a", 0, { outcome: "overloaded", retryAfterMs: 2000 });
    for (const id of ["b", "c", "d"]) expect(request(permits, id, 10).is).toBe("queued");
    expect(permits.advance(1999).granted).toEqual([]);
    expect(permits.outlook.nextChangeAtMs(1999)).toBe(2000);
    expect(ids(permits.advance(2000).granted)).toEqual(["b"]);
    expect(permits.outlook.limitAt(2000)).toBe(1);
    expect(permits.outlook.blockAt(2000)).toEqual({ by: "concurrency", untilMs: 3250 });
    expect(permits.outlook.limitAt(2000 + 5000)).toBe(5);
  });

  test("is stretched by jitter, never shortened", () => {
    for (const jitter of [0, 0.5, 1]) {
      const permits = create({ concurrency: 1, maxWaitMs: 60_000 });
      request(permits, "a", 0);
      permits.release("a", { outcome: "overloaded", retryAfterMs: 3000 }, 0, jitter);
      expect(permits.outlook.blockAt(0)).toEqual({ by: "paused", untilMs: 3000 + jitter * 1000 });
    }
  });

  test("longer than the wait limit refuses newcomers at once, and tells them when to retry", () => {
    const permits = create();
    request(permits, "a", 0);
    release(permits, "a", 0, { outcome: "overloaded", retryAfterMs: 5000 });
    expect(request(permits, "b", 1000)).toMatchObject({
      is: "refused",
      reason: "paused",
      retryAfterMs: 4000,
      byOperator: false,
    });
  });

  test("begins with the head of the response, and is not begun again by its end", () => {
    const permits = create();
    request(permits, "a", 0, { leaseMs: 60_000 });
    permits.reportHead("a", { outcome: "overloaded", retryAfterMs: 5000 }, 0, 0);
    expect(permits.outlook.blockAt(0)).toEqual({ by: "paused", untilMs: 5000 });
    release(permits, "a", 3000, { outcome: "overloaded", retryAfterMs: 2000 });
    expect(permits.outlook.blockAt(3000)).toEqual({ by: "paused", untilMs: 5000 });
  });

  test("by an operator lasts until the operator ends it, and nobody can know how long that is", () => {
    const permits = create({ isPaused: true });
    expect(request(permits, "a", 0)).toMatchObject({
      is: "refused",
      reason: "paused",
      byOperator: true,
      retryAfterMs: 60_000,
    });
    permits.configure(SETTINGS, 10);
    expect(request(permits, "a", 10).is).toBe("granted");
  });

  test("is at most an hour, whatever the upstream asks for", () => {
    const permits = create();
    request(permits, "a", 0);
    release(permits, "a", 0, { outcome: "overloaded", retryAfterMs: 1e12 });
    expect(permits.outlook.blockAt(0)).toEqual({ by: "paused", untilMs: 3_600_000 });
  });

  test("that the upstream asked for can be ended by an operator, and a ramp follows", () => {
    const permits = create({ concurrency: 5 });
    request(permits, "a", 0);
    release(permits, "a", 0, { outcome: "overloaded", retryAfterMs: 5000 });
    permits.resume(100);
    expect([permits.outlook.blockAt(100), permits.outlook.limitAt(100)]).toEqual([undefined, 1]);
  });

  test("survives a restart", () => {
    const before = create();
    request(before, "a", 0);
    release(before, "a", 0, { outcome: "overloaded", retryAfterMs: 5000 });
    const after = create({}, [], 100, before.state);
    expect(after.outlook.blockAt(100)).toEqual({ by: "paused", untilMs: 5000 });
  });
});

describe("the circuit breaker", () => {
  const broken = (change: Partial<Settings> = {}) => {
    const permits = create({ concurrency: 20, maxWaiters: 50, ...change });
    for (let i = 0; i < 10; i++) {
      request(permits, `call-${i}`, 0);
      release(permits, `call-${i}`, 0, FAILED);
    }
    return permits;
  };

  test("opens when half of the latest calls have failed; newcomers and waiters are refused", () => {
    const permits = create({ concurrency: 10 });
    for (let i = 0; i < 10; i++) request(permits, `call-${i}`, 0);
    request(permits, "waiter", 0);
    permits.configure({ ...SETTINGS, concurrency: 1 }, 0);
    for (let i = 0; i < 5; i++) expect(release(permits, `call-${i}`, 0, OK).refused).toEqual([]);
    for (let i = 5; i < 9; i++) expect(release(permits, `call-${i}`, 0, FAILED).refused).toEqual([]);
    expect(release(permits, "call-9", 0, FAILED).refused).toMatchObject([
      { waiter: { leaseId: "waiter" }, reason: "breaker-open" },
    ]);
    expect(request(permits, "new", 1)).toMatchObject({
      is: "refused",
      reason: "breaker-open",
      retryAfterMs: 1999,
    });
  });

  test("lets one probe through when its time is over; if the probe succeeds, it closes and a ramp follows", () => {
    const permits = broken();
    expect(request(permits, "probe", 2000).is).toBe("granted");
    expect(request(permits, "other", 2000).is).toBe("queued");
    expect(permits.outlook.blockAt(2000)).toEqual({ by: "probe", untilMs: Infinity });
    expect(ids(release(permits, "probe", 2010, OK).granted)).toEqual(["other"]);
    expect([permits.outlook.breakerAt(2010), permits.outlook.limitAt(2010)]).toEqual(["closed", 1]);
  });

  test("is closed by the head of the probe's response, while its body still comes", () => {
    const permits = broken({ maxWaitMs: 60_000 });
    const granted = request(permits, "probe", 2000, { leaseMs: 60_000 });
    expect(granted).toMatchObject({ is: "granted", lease: { isProbe: true } });
    request(permits, "other", 2000);
    permits.reportHead("probe", OK, 2010, 0);
    expect(ids(permits.advance(7010).granted)).toEqual(["other"]);
    expect([permits.outlook.breakerAt(7010), permits.held.size]).toEqual(["closed", 2]);
    expect(request(permits, "third", 7010)).toMatchObject({ is: "granted", lease: { isProbe: false } });
    release(permits, "probe", 9000, { outcome: "unknown" });
    expect(permits.outlook.breakerAt(9000)).toBe("closed");
  });

  test("is opened again by the head of the probe's response, once", () => {
    const permits = broken();
    request(permits, "probe", 2000, { leaseMs: 60_000 });
    permits.reportHead("probe", FAILED, 2010, 0);
    const block = { by: "breaker-open", untilMs: 2010 + 4000 };
    expect(permits.outlook.blockAt(2010)).toEqual(block);
    release(permits, "probe", 3000, FAILED);
    expect(permits.outlook.blockAt(3000)).toEqual(block);
  });

  test("lets another probe go when the first cannot decide yet; the first no longer decides", () => {
    const permits = broken();
    request(permits, "slow", 2000, { leaseMs: 60_000 });
    request(permits, "other", 2000);
    permits.reportHead("slow", { outcome: "unknown" }, 2050, 0);
    const { granted } = permits.advance(2050);
    expect(granted).toMatchObject([{ id: "other", isProbe: true }]);
    permits.reportHead("slow", OK, 2060, 0);
    expect(permits.outlook.breakerAt(2060)).toBe("half-open");
    permits.reportHead("other", OK, 2070, 0);
    expect(permits.outlook.breakerAt(2070)).toBe("closed");
  });

  test("does not count a head that no probe has, nor one whose permit has ended", () => {
    const permits = create({ concurrency: 20 });
    for (let i = 0; i < 10; i++) {
      request(permits, `call-${i}`, 0);
      permits.reportHead(`call-${i}`, FAILED, 0, 0);
      permits.reportHead("nobody", FAILED, 0, 0);
    }
    expect(permits.outlook.breakerAt(0)).toBe("closed");
  });

  test("opens for twice as long when the probe fails, up to a minute", () => {
    const permits = broken();
    let openForMs = 2000;
    let nowMs = openForMs;
    for (let i = 0; i < 8; i++) {
      expect(request(permits, `probe-${i}`, nowMs).is).toBe("granted");
      release(permits, `probe-${i}`, nowMs, FAILED);
      openForMs = Math.min(60_000, 2 * openForMs);
      expect(permits.outlook.blockAt(nowMs)).toEqual({ by: "breaker-open", untilMs: nowMs + openForMs });
      nowMs += openForMs;
    }
  });

  test("lets another probe through when the lease of the first expires", () => {
    const permits = broken();
    request(permits, "probe", 2000);
    expect(ids(permits.advance(2050).expired)).toEqual(["probe"]);
    expect(request(permits, "another", 2050).is).toBe("granted");
  });

  test("ignores calls that were in flight when it opened", () => {
    const permits = create({ concurrency: 20 });
    request(permits, "old", 0, { leaseMs: 9999 });
    for (let i = 0; i < 10; i++) {
      request(permits, `call-${i}`, 0);
      release(permits, `call-${i}`, 0, FAILED);
    }
    release(permits, "old", 100, OK);
    expect(permits.outlook.breakerAt(100)).toBe("open");
  });
});

describe("the rate", () => {
  test("lets a burst through, then exactly one call per interval", () => {
    const permits = create({
      concurrency: 100,
      maxWaiters: 100,
      maxWaitMs: 10_000,
      rate: { perSecond: 10, burst: 3 },
    });
    const decisions = [...Array(6).keys()].map(
      (i) => request(permits, `call-${i}`, 0, { leaseMs: 99_999 }).is,
    );
    expect(decisions).toEqual(["granted", "granted", "granted", "queued", "queued", "queued"]);
    expect(permits.outlook.nextChangeAtMs(0)).toBe(100);
    expect(permits.advance(99).granted).toEqual([]);
    expect(ids(permits.advance(100).granted)).toEqual(["call-3"]);
    expect(ids(permits.advance(300).granted)).toEqual(["call-4", "call-5"]);
  });

  test("survives a restart", () => {
    const rate = { perSecond: 1, burst: 1 };
    const before = create({ rate });
    request(before, "a", 0);
    release(before, "a", 1);
    const after = create({ rate, maxWaitMs: 5000 }, [], 10, before.state);
    expect(request(after, "b", 10).is).toBe("queued");
    expect(ids(after.advance(1000).granted)).toEqual(["b"]);
  });
});

test("a raised rate takes effect at once, whatever was due at the lower one", () => {
  const permits = create({ rate: { perSecond: 0.01, burst: 1 }, maxWaitMs: 60_000 });
  request(permits, "a", 0);
  release(permits, "a", 0);
  expect(request(permits, "b", 0).is).toBe("queued");
  permits.configure({ ...SETTINGS, rate: { perSecond: 100, burst: 1 }, maxWaitMs: 60_000 }, 0);
  expect(ids(permits.advance(10).granted)).toEqual(["b"]);
});

test("refused calls earn no retries", () => {
  const permits = create({ concurrency: 1, maxWaiters: 0 });
  request(permits, "a", 0);
  while (permits.allowRetry());
  for (let i = 0; i < 100; i++) expect(request(permits, `refused-${i}`, 0).is).toBe("refused");
  expect(permits.allowRetry()).toBe(false);
});

test("ending a pause that does not exist changes nothing", () => {
  const permits = create({ concurrency: 5 });
  permits.resume(100);
  expect(permits.outlook.limitAt(100)).toBe(5);
});

describe("the adaptive limit", () => {
  test("falls at once on overload, once for each round, and rises slowly", () => {
    const permits = create({ concurrency: 10, adaptive: true });
    for (let i = 0; i < 10; i++) request(permits, `call-${i}`, 0);
    for (let i = 0; i < 5; i++) release(permits, `call-${i}`, 10, { outcome: "overloaded" });
    expect(permits.outlook.limitAt(10)).toBe(7);
    for (let i = 5; i < 10; i++) release(permits, `call-${i}`, 20);
    expect(permits.outlook.limitAt(20)).toBeLessThanOrEqual(8);
    for (let i = 0; i < 500; i++) {
      for (let n = 0; n < 10; n++) request(permits, `round-${i}-${n}`, 30 + i);
      for (let n = 0; n < 10; n++) release(permits, `round-${i}-${n}`, 30 + i);
    }
    expect(permits.outlook.limitAt(9999)).toBe(10);
  });

  test("never falls below one, and survives a restart", () => {
    const permits = create({ concurrency: 4, adaptive: true });
    for (let i = 0; i < 30; i++) {
      request(permits, `call-${i}`, i);
      release(permits, `call-${i}`, i, { outcome: "overloaded" });
    }
    expect(permits.outlook.limitAt(100)).toBe(1);
    expect(create({ concurrency: 4, adaptive: true }, [], 0, permits.state).outlook.limitAt(9999)).toBe(1);
  });
});

test("retries are one in ten calls, plus a reserve of ten", () => {
  const permits = create({ concurrency: 1000 });
  let allowed = 0;
  for (let i = 0; i < 1000; i++) {
    request(permits, `call-${i}`, 0);
    if (permits.allowRetry()) allowed++;
  }
  expect(allowed).toBeGreaterThanOrEqual(100);
  expect(allowed).toBeLessThanOrEqual(111);
});

/** What the semaphore's users can know: who asked, in which order, who holds a permit, and what was reported. */
interface Waiting {
  id: string;
  arrivedAtMs: number;
  share: QueueShare;
}

class Model {
  nowMs = 0;
  settings: Settings = { ...SETTINGS, maxWaiters: 6, maxWaitMs: 400 };
  held = new Map<string, Lease>();
  queues: Record<Priority, Waiting[]> = { interactive: [], background: [] };
  lastFence = 0;
  pausedUntilMs = 0;
  interactiveInARow = 0;
  grantsAtMs: number[] = [];
  next = 0;

  get waiting() {
    return [...this.queues.interactive, ...this.queues.background];
  }
}

class Real {
  permits = create({ maxWaiters: 6, maxWaitMs: 400 });
}

function onGrant(model: Model, real: Real, given: Lease): void {
  expect(given.fence).toBeGreaterThan(model.lastFence);
  model.lastFence = given.fence;
  expect(model.nowMs).toBeGreaterThanOrEqual(model.pausedUntilMs);
  expect(model.settings.isPaused).toBe(false);
  expect(real.permits.outlook.breakerAt(model.nowMs)).not.toBe("open");
  model.held.set(given.id, given);
  expect(model.held.size).toBeLessThanOrEqual(model.settings.concurrency);
  const { rate } = model.settings;
  model.grantsAtMs.push(model.nowMs);
  if (!rate) return;
  for (const [i, fromMs] of model.grantsAtMs.entries()) {
    const max = rate.burst + ((model.nowMs - fromMs) * rate.perSecond) / 1000;
    expect(model.grantsAtMs.length - i).toBeLessThanOrEqual(max + 1e-6);
  }
}

/** Advances, and checks what happens against what may happen. */
function advance(model: Model, real: Real): void {
  const { granted, expired, refused } = real.permits.advance(model.nowMs);
  for (const { id, endsAtMs } of expired) {
    expect(endsAtMs).toBeLessThanOrEqual(model.nowMs);
    expect(model.held.delete(id)).toBe(true);
  }
  for (const { waiter, reason } of refused) {
    const queue = model.queues[waiter.priority];
    expect(queue[0]?.id).toBe(waiter.leaseId);
    if (reason === "breaker-open") expect(real.permits.outlook.breakerAt(model.nowMs)).toBe("open");
    else expect(waiter.arrivedAtMs + model.settings.maxWaitMs).toBeLessThanOrEqual(model.nowMs);
    queue.shift();
  }
  for (const given of granted) {
    const bothWait = model.queues.interactive.length > 0 && model.queues.background.length > 0;
    const priority = model.queues.interactive[0]?.id === given.id ? "interactive" : "background";
    expect(model.queues[priority][0]?.id).toBe(given.id);
    model.queues[priority].shift();
    model.interactiveInARow = bothWait && priority === "interactive" ? model.interactiveInARow + 1 : 0;
    expect(model.interactiveInARow).toBeLessThanOrEqual(4);
    onGrant(model, real, given);
  }
  expect([...real.permits.held.keys()].toSorted()).toEqual([...model.held.keys()].toSorted());
  expect([...real.permits.queue].map((waiter) => waiter.leaseId)).toEqual(ids(model.waiting));
  // Whoever waits is blocked by something, and the time of the next change is known.
  if (model.waiting.length > 0) {
    expect(real.permits.outlook.blockAt(model.nowMs)).toBeDefined();
    expect(real.permits.outlook.nextChangeAtMs(model.nowMs)).toBeGreaterThan(model.nowMs);
  }
}

type Command = fc.Command<Model, Real>;

/** A command that does `run`. The clock moves on before it, and everything is checked after it. */
function command(name: string, passedMs: number, run: (model: Model, real: Real) => void): Command {
  return {
    check: () => true,
    run: (model, real) => {
      model.nowMs += passedMs;
      advance(model, real);
      run(model, real);
      advance(model, real);
    },
    toString: () => `${name} after ${passedMs} ms`,
  };
}

const passedMs = fc.oneof(fc.constant(0), fc.nat(30), fc.nat(3000));
const pick = <T>(items: T[], n: number): T | undefined => items[n % Math.max(1, items.length)];

const acquire = fc
  .tuple(
    passedMs,
    fc.constantFrom("interactive", "background"),
    fc.integer({ min: 1, max: 500 }),
    fc.constantFrom("greedy", "greedy", "modest"),
  )
  .map(([ms, priority, leaseMs, of]) =>
    command(`acquire ${priority} as ${of}`, ms, (model, real) => {
      const leaseId = `${model.next++}`;
      const share = { of, maxWaiting: 3 };
      const already = model.waiting.filter((waiter) => waiter.share.of === of).length;
      const decision = real.permits.request(
        { leaseId, holder: "", priority, share, isRetry: false, leaseMs },
        model.nowMs,
      );
      // A name is refused because of its share exactly when it has it, and there is room for others.
      const isOverShare = already >= share.maxWaiting && model.waiting.length < model.settings.maxWaiters;
      if (decision.is === "refused" && decision.reason === "too-many-requests")
        expect([already, isOverShare]).toEqual([share.maxWaiting, true]);
      else if (decision.is === "queued") expect(isOverShare).toBe(false);
      if (decision.is === "refused" && decision.reason === "queue-full")
        expect(model.waiting.length).toBe(model.settings.maxWaiters);
      if (decision.is === "granted") {
        expect(model.waiting).toEqual([]);
        onGrant(model, real, decision.lease);
      } else if (decision.is === "queued")
        model.queues[priority].push({ id: leaseId, arrivedAtMs: model.nowMs, share });
      else expect(decision.retryAfterMs).toBeGreaterThan(0);
    }),
  );

const responded = fc
  .tuple(
    passedMs,
    fc.nat(9),
    fc.constantFrom<Feedback["outcome"]>("ok", "ok", "overloaded", "failed", "unknown"),
    fc.option(fc.nat(2000)),
  )
  .map(([ms, n, outcome, retryAfterMs]) =>
    command(`${outcome} response`, ms, (model, real) => {
      const holder = pick([...model.held.keys()], n);
      if (holder === undefined) return;
      const retryAfter = outcome === "overloaded" && retryAfterMs !== null ? { retryAfterMs } : {};
      real.permits.release(holder, { outcome, ...retryAfter }, model.nowMs, 0.5);
      model.held.delete(holder);
      if (retryAfter.retryAfterMs)
        model.pausedUntilMs = Math.max(model.pausedUntilMs, model.nowMs + retryAfter.retryAfterMs);
    }),
  );

/** The head of a response comes, and its body will take a while. What it says about a probe decides at once. */
const headCame = fc
  .tuple(
    passedMs,
    fc.nat(9),
    fc.constantFrom<Feedback["outcome"]>("ok", "overloaded", "failed", "unknown"),
    fc.option(fc.nat(2000)),
  )
  .map(([ms, n, outcome, retryAfterMs]) =>
    command(`${outcome} head`, ms, (model, real) => {
      const holder = pick([...model.held.keys()], n);
      if (holder === undefined) return;
      const retryAfter = outcome === "overloaded" && retryAfterMs !== null ? { retryAfterMs } : {};
      real.permits.reportHead(holder, { outcome, ...retryAfter }, model.nowMs, 0.5);
      expect(real.permits.state.breaker.probe).not.toBe(holder);
      if (retryAfter.retryAfterMs)
        model.pausedUntilMs = Math.max(model.pausedUntilMs, model.nowMs + retryAfter.retryAfterMs);
    }),
  );

/** A waiter cancels, or a holder or waiter dies: its ticket is disposed. */
const gone = fc.tuple(passedMs, fc.nat(19)).map(([ms, n]) =>
  command("caller gone", ms, (model, real) => {
    const id = pick([...model.held.keys(), ...ids(model.waiting)], n);
    if (id === undefined) return;
    real.permits.release(id, { outcome: "unknown" }, model.nowMs, 0);
    model.held.delete(id);
    for (const queue of Object.values(model.queues)) {
      const at = queue.findIndex((waiter) => waiter.id === id);
      if (at >= 0) queue.splice(at, 1);
    }
  }),
);

const renew = fc.tuple(passedMs, fc.nat(9), fc.integer({ min: 1, max: 500 })).map(([ms, n, leaseMs]) =>
  command("renew", ms, (model, real) => {
    const leaseId = pick([...model.held.keys()], n);
    if (leaseId === undefined) return;
    const decision = real.permits.request(
      { leaseId, holder: "", priority: "interactive", isRetry: false, leaseMs },
      model.nowMs,
    );
    expect(decision).toMatchObject({
      is: "granted",
      isNew: false,
      lease: { endsAtMs: model.nowMs + leaseMs },
    });
    if (decision.is === "granted") model.held.set(leaseId, decision.lease);
  }),
);

/** The object restarts: it reads what it had saved, and the waiters ask again, in any order. */
const restart = fc.tuple(passedMs, fc.boolean()).map(([ms, isReversed]) =>
  command("restart", ms, (model, real) => {
    const state: PermitsState = JSON.parse(JSON.stringify(real.permits.state));
    const restored = { atMs: model.nowMs, held: [...model.held.values()], lastFence: model.lastFence, state };
    real.permits = new Permits(model.settings, restored);
    model.interactiveInARow = 0;
    const queues = Object.entries(model.queues) as [Priority, Waiting[]][];
    const all = queues.flatMap(([priority, queue]) =>
      queue.map((waiter, place) => ({ ...waiter, priority, place })),
    );
    // Waiters that arrived in the same millisecond come back in their order: nothing tells them apart.
    all.sort(
      (a, b) =>
        (isReversed ? b.arrivedAtMs - a.arrivedAtMs : a.arrivedAtMs - b.arrivedAtMs) || a.place - b.place,
    );
    model.queues = { interactive: [], background: [] };
    for (const { id, priority, arrivedAtMs, share } of all) {
      const again = { leaseId: id, holder: "", priority, share, isRetry: false, leaseMs: 100, arrivedAtMs };
      const decision = real.permits.request(again, model.nowMs);
      if (decision.is === "granted") onGrant(model, real, decision.lease);
      if (decision.is === "queued") model.queues[priority].push({ id, arrivedAtMs, share });
    }
    for (const queue of Object.values(model.queues)) queue.sort((a, b) => a.arrivedAtMs - b.arrivedAtMs);
  }),
);

const reconfigure = fc
  .tuple(
    passedMs,
    fc.integer({ min: 1, max: 5 }),
    fc.option(fc.record({ perSecond: fc.constantFrom(1, 10, 100), burst: fc.integer({ min: 1, max: 4 }) })),
    fc.boolean(),
    fc.nat(9),
  )
  .map(([ms, concurrency, rate, adaptive, n]) =>
    command("reconfigure", ms, (model, real) => {
      const isNewRate = JSON.stringify(rate ?? undefined) !== JSON.stringify(model.settings.rate);
      model.settings = {
        ...model.settings,
        concurrency,
        rate: rate ?? undefined,
        adaptive,
        isPaused: n === 0,
      };
      // Grants at another rate do not count at this one.
      if (isNewRate) model.grantsAtMs = [];
      real.permits.configure(model.settings, model.nowMs);
    }),
  );

const tick = passedMs.map((ms) => command("tick", ms, () => {}));

test("in every history: never too many, never too fast, first come first served, and every waiter is served", () => {
  fc.assert(
    fc.property(
      fc.commands([acquire, acquire, acquire, responded, headCame, gone, renew, restart, reconfigure, tick], {
        maxCommands: 150,
      }),
      (commands) => {
        const model = new Model();
        const real = new Real();
        fc.modelRun(() => ({ model, real }), commands);
        drain(model, real);
      },
    ),
    { numRuns: 1000 },
  );
});

/** Time passes and leases expire: every waiter must be granted a permit or refused. */
function drain(model: Model, real: Real): void {
  model.settings = { ...model.settings, isPaused: false };
  real.permits.configure(model.settings, model.nowMs);
  for (let step = 0; model.waiting.length > 0; step++) {
    expect(step).toBeLessThan(1000);
    advance(model, real);
    model.nowMs = Math.max(model.nowMs + 1, Math.ceil(real.permits.outlook.nextChangeAtMs(model.nowMs) ?? 0));
  }
}
