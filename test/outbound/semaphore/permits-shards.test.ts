/**
 * Several shards of one upstream, and isolates that send calls to the better of two: random histories, in which shards
 * restart and an operator's change reaches them one after another. All together they must keep what one object keeps.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ShardLoads } from "../../../src/outbound/client/shard-loads.ts";
import type { Feedback, Lease, PermitsState } from "../../../src/outbound/semaphore/permit-types.ts";
import { Permits } from "../../../src/outbound/semaphore/permits.ts";
import type { Priority } from "../../../src/outbound/semaphore/wait-queue.ts";
import { type Configured, type Override, settingsOf } from "../../../src/outbound/settings.ts";

const CONFIGURED: Configured = {
  shards: 1,
  concurrency: 1,
  rate: undefined,
  adaptive: false,
  maxWaiters: 40,
  maxWaitMs: 400,
  maxPasses: undefined,
  maxPassMs: 1_000,
};
const SHARE = { maxWaiting: 20 };
const ISOLATES = 3;

interface Call {
  id: string;
  isolate: number;
  shard: number;
  priority: Priority;
  arrivedAtMs: number;
}

class Upstream {
  readonly shards: Permits[];
  readonly views: ShardLoads[];
  /** Which change each shard has. */
  readonly #overrides: Override[];
  readonly #configured: Configured;
  readonly held = new Map<string, Call>();
  readonly waiting = new Map<string, Call>();
  readonly #grantsAtMs: number[] = [];
  /** The highest limit that any shard has had a part of since the start. */
  #highest: number;
  nowMs = 0;
  #made = 0;

  constructor(configured: Configured) {
    this.#configured = configured;
    this.#highest = configured.concurrency;
    const indexes = Array.from({ length: configured.shards }, (_, shard) => shard);
    this.#overrides = indexes.map(() => ({}));
    this.shards = indexes.map((shard) => this.#start(shard, [], undefined));
    const permits = indexes.map((shard) => settingsOf(configured, {}, shard).concurrency);
    this.views = Array.from({ length: ISOLATES }, () => new ShardLoads(permits));
  }

  call(isolate: number, priority: Priority, random: () => number): void {
    const view = this.views[isolate];
    const id = `${this.#made++}`;
    const tried = new Set<number>();
    while (tried.size < 2) {
      const shard = view?.choose(this.nowMs, random, tried);
      if (!view || shard === undefined) return;
      const call = { id: `${id}/${shard}`, isolate, shard, priority, arrivedAtMs: this.nowMs };
      view.begin(shard);
      const reason = this.#ask(call);
      if (reason === undefined) return;
      view.end(shard);
      if (reason !== "queue-full" && reason !== "too-many-requests") return;
      tried.add(shard);
    }
  }

  end(call: Call, feedback: Feedback): void {
    this.#permits(call.shard).release(call.id, feedback, this.nowMs, 0.5);
    this.#forget(call);
  }

  /** A shard restarts: it has what it had saved, and its waiters ask again. */
  restart(shard: number): void {
    const before = this.#permits(shard);
    const state: PermitsState = JSON.parse(JSON.stringify(before.state));
    this.shards[shard] = this.#start(shard, [...before.held.values()], state);
    const waiters = [...this.waiting.values()].filter((call) => call.shard === shard);
    for (const call of waiters) {
      this.waiting.delete(call.id);
      if (this.#ask(call) !== undefined) this.views[call.isolate]?.end(shard);
    }
  }

  /** An operator's change reaches a shard. */
  configure(shard: number, override: Override): void {
    this.#overrides[shard] = override;
    this.#highest = Math.max(this.#highest, override.concurrency ?? 0);
    this.#permits(shard).configure(settingsOf(this.#configured, override, shard), this.nowMs);
  }

  /** Time has passed. */
  advance(ms: number): void {
    this.nowMs += ms;
    for (const [shard, permits] of this.shards.entries()) {
      const { granted, refused } = permits.advance(this.nowMs);
      for (const { waiter } of refused) this.#forgetId(waiter.leaseId);
      for (const lease of granted) {
        const call = this.waiting.get(lease.id);
        if (!call) throw new Error("A permit was granted to nobody.");
        this.waiting.delete(call.id);
        this.#onGrant(call);
      }
      const ids = [...this.held.values(), ...this.waiting.values()].filter((call) => call.shard === shard);
      expect(permits.held.size + permits.queue.length).toBe(ids.length);
    }
  }

  /** Why it is refused; undefined if it is not. */
  #ask(call: Call): string | undefined {
    const { id: leaseId, shard, priority, arrivedAtMs } = call;
    const share = { of: `isolate ${call.isolate}`, ...SHARE };
    const request = { leaseId, holder: "", priority, share, isRetry: false, leaseMs: 1e9 };
    const isAgain = arrivedAtMs < this.nowMs;
    const decision = this.#permits(shard).request(
      { ...request, ...(isAgain && { arrivedAtMs }) },
      this.nowMs,
    );
    if (decision.is === "refused") return decision.reason;
    if (decision.is === "granted") this.#onGrant(call);
    else this.waiting.set(leaseId, call);
    return undefined;
  }

  #onGrant(call: Call): void {
    this.held.set(call.id, call);
    expect(this.held.size).toBeLessThanOrEqual(this.#highest);
    const { concurrency } = settingsOf(this.#configured, this.#overrides[call.shard] ?? {}, call.shard);
    expect([...this.held.values()].filter(({ shard }) => shard === call.shard).length).toBeLessThanOrEqual(
      concurrency,
    );
    this.#grantsAtMs.push(this.nowMs);
    const { rate } = this.#configured;
    if (!rate) return;
    for (const [i, fromMs] of this.#grantsAtMs.entries()) {
      const max = rate.burst + ((this.nowMs - fromMs) * rate.perSecond) / 1000;
      expect(this.#grantsAtMs.length - i).toBeLessThanOrEqual(max + 1e-6);
    }
  }

  #forgetId(id: string): void {
    const call = this.held.get(id) ?? this.waiting.get(id);
    if (call) this.#forget(call);
  }

  #forget(call: Call): void {
    this.held.delete(call.id);
    this.waiting.delete(call.id);
    this.views[call.isolate]?.end(call.shard);
  }

  #start(shard: number, held: Lease[], state: PermitsState | undefined): Permits {
    const settings = settingsOf(this.#configured, this.#overrides[shard] ?? {}, shard);
    const lastFence = Math.max(0, ...held.map(({ fence }) => fence));
    return new Permits(settings, { atMs: this.nowMs, held, lastFence, state });
  }

  #permits(shard: number): Permits {
    const permits = this.shards[shard];
    if (!permits) throw new Error("There is no such shard.");
    return permits;
  }
}

const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const step = fc.record({
  is: fc.constantFrom("calls", "calls", "calls", "end", "end", "end", "restart", "configure", "tick"),
  ms: fc.oneof(fc.constant(0), fc.constant(0), fc.nat(20), fc.nat(600)),
  calls: fc.integer({ min: 1, max: 12 }),
  n: fc.nat(10_000),
  draws: fc.array(draw, { minLength: 12, maxLength: 12 }),
  outcome: fc.constantFrom<Feedback["outcome"]>("ok", "ok", "ok", "ok", "failed", "unknown"),
  priority: fc.constantFrom<Priority>("interactive", "background"),
  concurrency: fc.integer({ min: 1, max: 40 }),
});
const rates = fc.option(
  fc.record({ perSecond: fc.constantFrom(10, 100, 1000), burst: fc.integer({ min: 8, max: 20 }) }),
  { nil: undefined },
);
const pick = <T>(items: Iterable<T>, n: number): T | undefined => {
  const all = [...items];
  return all[n % Math.max(1, all.length)];
};

type Step = typeof step extends fc.Arbitrary<infer One> ? One : never;

function take(upstream: Upstream, one: Step): void {
  const { is, n, draws, concurrency } = one;
  let drawn = 0;
  const random = () => draws[drawn++ % draws.length] ?? 0;
  const calls = is === "calls" ? one.calls : 0;
  for (let i = 0; i < calls; i++) upstream.call((n + i) % ISOLATES, one.priority, random);
  const call = is === "end" ? pick([...upstream.held.values(), ...upstream.waiting.values()], n) : undefined;
  if (call) upstream.end(call, { outcome: one.outcome });
  if (is === "restart") upstream.restart(n % upstream.shards.length);
  if (is === "configure") upstream.configure(n % upstream.shards.length, { concurrency });
}

test("in every history: never more permits than the limit, never faster than the rate, and every waiter is served", () => {
  const upstreams = fc.record({
    shards: fc.integer({ min: 2, max: 8 }),
    concurrency: fc.integer({ min: 8, max: 30 }),
    rate: rates,
    changes: fc.boolean(),
  });
  const full = { withRate: false, withoutRate: false };
  fc.assert(
    fc.property(
      upstreams,
      fc.array(step, { minLength: 20, maxLength: 150, size: "max" }),
      ({ changes, ...of }, steps) => {
        const upstream = new Upstream({ ...CONFIGURED, ...of });
        for (const one of steps) {
          upstream.advance(one.ms);
          if (one.is !== "configure" || changes) take(upstream, one);
          upstream.advance(0);
          if (upstream.held.size === of.concurrency) full[of.rate ? "withRate" : "withoutRate"] = true;
        }
        // Time passes and calls end: each waiter is granted a permit or refused.
        for (let i = 0; upstream.waiting.size > 0; i++) {
          expect(i).toBeLessThan(200);
          for (const call of Array.from(upstream.held.values())) upstream.end(call, { outcome: "ok" });
          upstream.advance(100);
        }
      },
    ),
    { numRuns: 150 },
  );
  expect(full).toEqual({ withRate: true, withoutRate: true });
});
