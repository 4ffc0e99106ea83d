/** The rules of the semaphore, against a model that is too simple to be wrong, through thousands of histories. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Lease, type PermitLimits, Permits } from "../../src/outbound/permits.ts";

const LIMITS: PermitLimits = { concurrency: 2, maxWaiters: 3, maxWaitMs: 100 };
const ask = (permits: Permits, leaseId: string, nowMs: number, leaseMs = 50) =>
  permits.request({ leaseId, leaseMs }, nowMs);
const ids = (leases: { id: string }[]) => leases.map((lease) => lease.id);

describe("a permit", () => {
  test("is granted at once while there are any, then there is a line, then a refusal", () => {
    const permits = new Permits(LIMITS);
    const answers = ["a", "b", "c", "d", "e", "f"].map((id) => ask(permits, id, 0).is);
    expect(answers).toEqual(["granted", "granted", "queued", "queued", "queued", "refused"]);
  });

  test("that is given back goes to the first in line", () => {
    const permits = new Permits(LIMITS);
    for (const id of ["a", "b", "c", "d"]) ask(permits, id, 0);
    permits.release("b");
    expect(ids(permits.advance(1).granted)).toEqual(["c"]);
    expect(permits.advance(1).granted).toEqual([]);
  });

  test("is not given to a newcomer while an earlier one waits", () => {
    const permits = new Permits(LIMITS);
    for (const id of ["a", "b", "c"]) ask(permits, id, 0);
    permits.release("a");
    expect(ask(permits, "new", 1).is).toBe("queued");
    expect(ids(permits.advance(1).granted)).toEqual(["c"]);
  });

  test("ends with its time, to the millisecond, and goes on to the next", () => {
    const permits = new Permits({ ...LIMITS, concurrency: 1 });
    ask(permits, "a", 0);
    ask(permits, "b", 10);
    expect(permits.nextChangeAtMs).toBe(50);
    expect(permits.advance(49)).toEqual({ granted: [], expired: [], gaveUp: [] });
    const { expired, granted } = permits.advance(50);
    expect([ids(expired), ids(granted), granted[0]?.endsAtMs]).toEqual([["a"], ["b"], 100]);
  });

  test("can be asked for twice under one id: it is the same one, with more time", () => {
    const permits = new Permits(LIMITS);
    expect(ask(permits, "a", 0)).toMatchObject({
      is: "granted",
      lease: { fence: 1, grantedAtMs: 0, endsAtMs: 50 },
    });
    expect(ask(permits, "a", 5)).toMatchObject({
      is: "granted",
      lease: { fence: 1, grantedAtMs: 0, endsAtMs: 55 },
    });
    expect(permits.advance(50).expired).toEqual([]);
    ask(permits, "b", 0);
    expect([ask(permits, "c", 1), ask(permits, "c", 9)]).toEqual([
      { is: "queued", arrivedAtMs: 1 },
      { is: "queued", arrivedAtMs: 1 },
    ]);
    permits.release("c");
    expect([...permits.waiting]).toEqual([]);
  });
});

describe("a waiter", () => {
  test("gives up at the wait limit, to the millisecond", () => {
    const permits = new Permits({ ...LIMITS, concurrency: 1 });
    ask(permits, "a", 0, 1000);
    ask(permits, "b", 7, 1000);
    expect(permits.nextChangeAtMs).toBe(107);
    expect(permits.advance(106).gaveUp).toEqual([]);
    expect(permits.advance(107).gaveUp.map((waiter) => waiter.leaseId)).toEqual(["b"]);
    expect(permits.nextChangeAtMs).toBeUndefined();
  });

  test("that comes back after a restart stands where it stood", () => {
    const permits = new Permits(LIMITS, [lease("x"), lease("y")], 2);
    ask(permits, "newcomer", 60, 10);
    permits.request({ leaseId: "second", leaseMs: 10, arrivedAtMs: 20 }, 61);
    permits.request({ leaseId: "first", leaseMs: 10, arrivedAtMs: 10 }, 62);
    expect([...permits.waiting].map((waiter) => waiter.leaseId)).toEqual(["first", "second", "newcomer"]);
  });

  test("that comes back after its wait limit is refused, with that reason", () => {
    const permits = new Permits(LIMITS, [lease("x"), lease("y")], 2);
    expect(permits.request({ leaseId: "a", leaseMs: 10, arrivedAtMs: 0 }, 100)).toEqual({
      is: "refused",
      why: "wait-limit",
    });
    expect(permits.request({ leaseId: "b", leaseMs: 10, arrivedAtMs: 1 }, 100).is).toBe("queued");
  });

  test("cannot claim to have come later than now", () => {
    const permits = new Permits(LIMITS, [lease("x"), lease("y")], 2);
    expect(permits.request({ leaseId: "a", leaseMs: 1, arrivedAtMs: 999 }, 5)).toEqual({
      is: "queued",
      arrivedAtMs: 5,
    });
  });
});

test("leases from before a restart are held, and fences go on growing", () => {
  const permits = new Permits(LIMITS, [lease("x", 7)], 9);
  expect(ask(permits, "a", 0)).toMatchObject({ is: "granted", lease: { fence: 10 } });
  expect(ask(permits, "b", 0).is).toBe("queued");
});

test("a limit that was lowered under its holders lets them finish, and grants none until below", () => {
  const permits = new Permits({ ...LIMITS, concurrency: 1 }, [lease("x"), lease("y")], 2);
  ask(permits, "a", 0);
  permits.release("x");
  expect(permits.advance(1).granted).toEqual([]);
  permits.release("y");
  expect(ids(permits.advance(2).granted)).toEqual(["a"]);
});

const lease = (id: string, fence = 1): Lease => ({ id, fence, grantedAtMs: 0, endsAtMs: 1000 });

const step = fc.record({
  do: fc.constantFrom("acquire", "release", "restart"),
  id: fc.nat(14).map(String),
  leaseMs: fc.integer({ min: 1, max: 80 }),
  passedMs: fc.integer({ min: 0, max: 30 }),
});

test("in every history: never too many, first come first served, every waiter is settled, fences grow", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 4 }), (steps, concurrency) => {
      const limits = { ...LIMITS, concurrency };
      let permits = new Permits(limits);
      let line: { id: string; arrivedAtMs: number; leaseMs: number }[] = [];
      let held = new Map<string, Lease>();
      let fence = 0;
      let nowMs = 0;

      const grant = (given: Lease) => {
        expect(given.fence).toBeGreaterThan(fence);
        fence = given.fence;
        held.set(given.id, given);
      };
      const advance = () => {
        const changes = permits.advance(nowMs);
        for (const { id, endsAtMs } of changes.expired) {
          expect(endsAtMs).toBeLessThanOrEqual(nowMs);
          expect(held.delete(id)).toBe(true);
        }
        const due = line.filter((waiter) => waiter.arrivedAtMs + limits.maxWaitMs <= nowMs);
        expect(changes.gaveUp.map((waiter) => waiter.leaseId)).toEqual(due.map((waiter) => waiter.id));
        line = line.filter((waiter) => !due.includes(waiter));
        expect(ids(changes.granted)).toEqual(ids(line.slice(0, changes.granted.length)));
        line = line.slice(changes.granted.length);
        for (const given of changes.granted) grant(given);
        for (const { endsAtMs } of held.values()) expect(endsAtMs).toBeGreaterThan(nowMs);
        if (line.length > 0) expect(held.size).toBe(concurrency);
      };

      for (const s of steps) {
        nowMs += s.passedMs;
        advance();
        if (s.do === "acquire") {
          const isKnown = held.has(s.id) || line.some((waiter) => waiter.id === s.id);
          const answer = ask(permits, s.id, nowMs, s.leaseMs);
          if (answer.is === "granted" && !isKnown) {
            expect(line).toEqual([]);
            grant(answer.lease);
          } else if (answer.is === "granted") held.set(s.id, answer.lease);
          if (answer.is === "queued" && !isKnown)
            line.push({ id: s.id, arrivedAtMs: nowMs, leaseMs: s.leaseMs });
          if (answer.is === "refused") expect(line).toHaveLength(limits.maxWaiters);
        } else if (s.do === "release") {
          permits.release(s.id);
          held.delete(s.id);
          line = line.filter((waiter) => waiter.id !== s.id);
        } else {
          permits = new Permits(limits, [...held.values()], fence);
          for (const { id, arrivedAtMs, leaseMs } of line)
            permits.request({ leaseId: id, leaseMs, arrivedAtMs }, nowMs);
        }
        advance();
        expect(held.size).toBeLessThanOrEqual(concurrency);
        expect([...permits.held.keys()].toSorted()).toEqual([...held.keys()].toSorted());
        expect([...permits.waiting].map((waiter) => waiter.leaseId)).toEqual(ids(line));
      }
      for (const id of held.keys()) permits.release(id);
      held = new Map();
      while (line.length > 0) {
        nowMs = permits.nextChangeAtMs ?? Number.NaN;
        advance();
        for (const id of held.keys()) permits.release(id);
        held = new Map();
        advance();
      }
    }),
    { numRuns: 3000 },
  );
});
