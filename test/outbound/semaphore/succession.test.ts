/**
 * Permits that are handed on within isolates, while words take their time between isolates and the semaphore, in any
 * order, and callers die: random histories of a small world. It knows what nobody in it does: which calls are under way.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type {
  Feedback,
  HandOver,
  Lease,
  PermitsState,
} from "../../../src/outbound/semaphore/permit-types.ts";
import { Permits } from "../../../src/outbound/semaphore/permits.ts";
import type { Priority } from "../../../src/outbound/semaphore/wait-queue.ts";
import type { Settings } from "../../../src/outbound/settings.ts";

const SETTINGS: Settings = {
  concurrency: 2,
  rate: undefined,
  adaptive: false,
  isPaused: false,
  maxWaiters: 100,
  maxWaitMs: 5_000,
  maxPasses: 4,
  maxPassMs: 1_000,
};
const LEASE_MS = 1_000;

interface Caller {
  id: string;
  isolate: string;
  priority: Priority;
  arrivedAtMs: number;
  order: number;
  state: "waiting" | "calling" | "handed on" | "over";
  /** What it knows: its turn among the successors. */
  turn: number | undefined;
  /** Which lease it has, or had, after how many hand-overs. */
  lease: string;
  number: number;
  /** How many later calls of other isolates have begun while it waits. */
  passed: number;
  /** Granted by the semaphore, which it may not know yet. */
  isGranted: boolean;
}
type Word = { to: Caller; is: "granted" } | { to: Caller; is: "told"; turn: number | undefined };

/** As `expect`, which is too slow for so many. */
function demand(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(otherwise);
}

class World {
  nowMs = 0;
  settings = SETTINGS;
  permits = new Permits(SETTINGS, { atMs: 0, held: [], lastFence: 0, state: undefined });
  callers = new Map<string, Caller>();
  /** On their way from the semaphore, and to it. */
  words: Word[] = [];
  claims: { from: Caller; handOver: HandOver }[] = [];
  /** Who keeps which lease or place alive, as the semaphore sees it. */
  tickets = new Map<string, Caller>();
  ended = new Map<string, HandOver["ended"]>();
  handOvers = 0;
  mostPassed = 0;
  lastFence = 0;
  #next = 0;
  #held = 0;

  in(state: Caller["state"]): Caller[] {
    return [...this.callers.values()].filter((caller) => caller.state === state);
  }

  settle(): void {
    const { granted, expired, lost, refused, told } = this.permits.advance(this.nowMs);
    for (const { id } of [...expired, ...lost]) this.tickets.delete(id);
    // Whoever has a lease that could not be renewed ends its call before the lease ends.
    for (const { id } of expired)
      for (const caller of this.in("calling")) if (caller.lease === id) this.end(caller);
    for (const { id, fence } of granted) {
      demand(fence > this.lastFence, "A fence did not grow.");
      this.lastFence = fence;
      const caller = this.callers.get(id);
      if (!caller) throw new Error("A permit was granted to nobody.");
      if (caller.state === "waiting") this.onBegin(caller);
      caller.isGranted = true;
      this.words.push({ to: caller, is: "granted" });
    }
    for (const { waiter } of refused) {
      const caller = this.callers.get(waiter.leaseId);
      if (caller?.state === "waiting") this.end(caller);
    }
    for (const { leaseId } of told) this.tell(leaseId);
    this.check();
  }

  /** No more calls than leases, and no more leases than may be, unless the limit was lowered. */
  check(): void {
    const held = this.permits.held.size;
    demand(this.in("calling").length <= held, "There is a call without a permit.");
    demand(held <= Math.max(this.settings.concurrency, this.#held), "Too many permits are held.");
    this.#held = held;
  }

  tell(leaseId: string): void {
    const to = this.callers.get(leaseId);
    if (!to) throw new Error("Nobody is there to be told.");
    this.words.push({ to, is: "told", turn: this.permits.tell(leaseId, this.nowMs) });
  }

  /** A call begins, before those that wait. */
  onBegin({ order, isolate, priority }: Caller): void {
    for (const other of this.in("waiting"))
      if (!other.isGranted && other.order < order && other.isolate !== isolate && other.priority === priority)
        this.mostPassed = Math.max(this.mostPassed, ++other.passed);
  }

  arrive(isolate: string, priority: Priority): void {
    const id = `${this.#next++}`;
    const caller: Caller = {
      id,
      isolate,
      priority,
      lease: id,
      arrivedAtMs: this.nowMs,
      order: this.#next,
      state: "waiting",
      turn: undefined,
      number: 0,
      passed: 0,
      isGranted: false,
    };
    this.callers.set(id, caller);
    this.request(caller);
  }

  request(caller: Caller, arrivedAtMs?: number): void {
    const { id, isolate, priority } = caller;
    const request = { leaseId: id, holder: "", priority, isRetry: false, leaseMs: LEASE_MS, isolate };
    const decision = this.permits.request(
      { ...request, ...(arrivedAtMs !== undefined && { arrivedAtMs }) },
      this.nowMs,
    );
    if (decision.is === "refused") {
      caller.state = "over";
      return;
    }
    this.tickets.set(id, caller);
    if (decision.is === "granted") {
      this.lastFence = Math.max(this.lastFence, decision.lease.fence);
      caller.state = "calling";
      this.onBegin(caller);
    }
    this.settle();
    if (decision.is === "queued") caller.turn = this.permits.tell(id, this.nowMs);
  }

  /** A call ends well: the next successor in the isolate has its permit, or the semaphore. */
  hand(caller: Caller, lease: string, number: number, feedback?: Feedback): boolean {
    const { isolate } = caller;
    const ready = this.in("waiting").filter((other) => other.isolate === isolate && other.turn !== undefined);
    const [next] = ready.toSorted(
      (a, b) => b.priority.localeCompare(a.priority) || Number(a.turn) - Number(b.turn),
    );
    if (!next) return false;
    this.handOvers++;
    this.onBegin(next);
    next.state = "calling";
    next.lease = lease;
    next.number = number + 1;
    const ended = [...(this.ended.get(lease) ?? []), ...(feedback ? [{ after: number, feedback }] : [])];
    this.ended.set(lease, ended);
    this.claims.push({ from: next, handOver: { leaseId: lease, number: next.number, ended } });
    return true;
  }

  finish(caller: Caller, feedback: Feedback): void {
    const { lease, number } = caller;
    // As the caller sees it: it has renewed its lease meanwhile, or not.
    const isAlive = (this.permits.held.get(lease)?.endsAtMs ?? 0) > this.nowMs;
    if (feedback.outcome === "ok" && isAlive && this.hand(caller, lease, number, feedback)) {
      caller.state = "handed on";
      return;
    }
    this.#claimFirst(caller);
    caller.state = "over";
    this.permits.release(lease, feedback, this.nowMs, 0);
    this.tickets.delete(lease);
    this.dispose(caller);
  }

  /** Its call ends because its permit has. */
  end(caller: Caller): void {
    caller.state = "over";
    this.claims = this.claims.filter(({ from }) => from !== caller);
    this.dispose(caller);
  }

  /** The runtime disposes its ticket. */
  dispose(caller: Caller): void {
    for (const id of new Set([caller.id, caller.lease])) {
      if (this.tickets.get(id) !== caller) continue;
      this.tickets.delete(id);
      if (!this.permits.orphan(id)) this.permits.release(id, { outcome: "unknown" }, this.nowMs, 0);
    }
  }

  die(caller: Caller): void {
    this.claims = this.claims.filter(({ from }) => from !== caller);
    this.words = this.words.filter(({ to }) => to !== caller);
    caller.state = "over";
    this.dispose(caller);
  }

  claim({ from, handOver }: World["claims"][number]): void {
    const taker = { waitedAs: from.id, holder: "", isolate: from.isolate, leaseMs: LEASE_MS };
    const lease = this.permits.takeOver(handOver, taker, this.nowMs, 0);
    if (!this.permits.held.has(from.id)) this.tickets.delete(from.id);
    if (!lease) return this.end(from);
    demand(lease.endsAtMs <= this.nowMs + LEASE_MS, "A lease ends too late.");
    if (lease.handOvers === handOver.number) this.tickets.set(lease.id, from);
    this.lastFence = Math.max(this.lastFence, lease.fence);
    // Whoever had it before needs its ticket no longer.
    for (const before of this.in("handed on"))
      if (before.lease === lease.id && before.number < handOver.number) this.end(before);
  }

  #claimFirst(caller: Caller): void {
    const own = this.claims.find(({ from }) => from === caller);
    this.claims = this.claims.filter((claim) => claim !== own);
    if (own) this.claim(own);
  }

  receive(word: Word): void {
    const { to } = word;
    if (to.state === "over") return;
    if (word.is === "granted") {
      // A grant that is too old is asked for again.
      if (!this.permits.held.has(to.id)) to.state = to.state === "waiting" ? "over" : to.state;
      else if (to.state === "waiting") to.state = "calling";
      else if (!this.hand(to, to.id, 0)) {
        // Both go by its ticket, so in this order.
        this.#claimFirst(to);
        this.permits.release(to.id, { outcome: "unknown" }, this.nowMs, 0);
        this.tickets.delete(to.id);
      }
    } else if (to.state === "waiting") {
      to.turn = word.turn;
      this.permits.hear(to.id, this.nowMs);
      if (this.permits.hasNewsFor(to.id)) this.tell(to.id);
    }
  }

  restart(): void {
    const state: PermitsState = JSON.parse(JSON.stringify(this.permits.state));
    const held = [...this.permits.held.values()].map((lease) => omitIsolate(lease));
    const { nowMs: atMs, lastFence } = this;
    this.permits = new Permits(this.settings, { atMs, held, lastFence, state });
    this.tickets.clear();
    this.words = [];
    for (const caller of this.in("calling"))
      if (this.permits.held.get(caller.lease)?.handOvers === caller.number) {
        const request = { leaseId: caller.lease, holder: "", priority: caller.priority, isRetry: false };
        this.permits.request({ ...request, leaseMs: LEASE_MS, isolate: caller.isolate }, this.nowMs);
        this.tickets.set(caller.lease, caller);
      }
    for (const caller of this.in("waiting")) {
      caller.turn = undefined;
      caller.passed = 0;
      caller.isGranted = false;
      this.request(caller, caller.arrivedAtMs);
    }
  }
}

/** What SQLite does not keep. */
function omitIsolate(lease: Lease): Lease {
  const kept = { ...lease };
  delete kept.isolate;
  return kept;
}

const pick = <T>(items: T[], n: number): T | undefined => items[n % Math.max(1, items.length)];

const STEPS = {
  arrive: (world, n) =>
    world.arrive(["a", "a", "b", "c"][n % 4] ?? "a", n % 7 === 6 ? "background" : "interactive"),
  good: (world, n) => act(pick(world.in("calling"), n), (caller) => world.finish(caller, { outcome: "ok" })),
  bad: (world, n) =>
    act(pick(world.in("calling"), n), (caller) =>
      world.finish(caller, { outcome: "overloaded", ...(n % 3 === 0 && { retryAfterMs: 50 }) }),
    ),
  die: (world, n) =>
    act(pick([...world.in("calling"), ...world.in("waiting"), ...world.in("handed on")], n), (caller) =>
      world.die(caller),
    ),
  claim: (world, n) => act(world.claims.splice(n % (world.claims.length + 1), 1)[0], (it) => world.claim(it)),
  word: (world, n) => act(world.words.splice(n % (world.words.length + 1), 1)[0], (it) => world.receive(it)),
  limit: (world, n) => {
    world.settings = { ...world.settings, concurrency: 1 + (n % 3) };
    world.permits.configure(world.settings, world.nowMs);
  },
  restart: (world) => world.restart(),
  wait: () => {},
} satisfies Record<string, (world: World, n: number) => void>;

function act<T>(item: T | undefined, action: (item: T) => void): void {
  if (item !== undefined) action(item);
}

const step = fc.record({
  is: fc.constantFrom<keyof typeof STEPS>(
    ...(["arrive", "arrive", "arrive", "arrive", "good", "good", "good", "good"] as const),
    ...(["claim", "claim", "word", "word", "word", "bad", "die", "limit", "restart", "wait"] as const),
  ),
  n: fc.nat(59),
  ms: fc.constantFrom(0, 0, 1, 5, 30),
});

function play(world: World, steps: { is: keyof typeof STEPS; n: number; ms: number }[]): void {
  for (const { is, n, ms } of steps) {
    world.nowMs += ms;
    world.settle();
    STEPS[is](world, n);
    world.settle();
  }
}

/** Whoever lives ends its call, all words arrive, and time passes: all must be over. */
function drain(world: World): void {
  for (let round = 0; round < 200; round++) {
    world.nowMs += 100;
    for (const is of ["claim", "word", "good"] as const) {
      STEPS[is](world, round);
      world.settle();
    }
  }
  expect([world.permits.queue.length, world.permits.held.size]).toEqual([0, 0]);
}

describe("in every history", () => {
  test("there are never too many calls, nobody is passed too often, and all permits come back", () => {
    let handOvers = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
        const world = new World();
        play(world, steps);
        expect(world.mostPassed).toBeLessThanOrEqual(SETTINGS.maxPasses);
        drain(world);
        handOvers += world.handOvers;
      }),
      { numRuns: Number(process.env["MODEL_RUNS"] ?? 300), interruptAfterTimeLimit: 60_000 },
    );
    expect(handOvers).toBeGreaterThan(200);
  });
});
