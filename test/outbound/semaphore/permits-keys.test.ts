/**
 * Limit keys and weights: random histories of calls of both classes, with pauses, failures, rates, expiries, changes of the
 * limit and restarts. The model knows who holds what and who waits since when, and nothing of rings or lines.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Feedback, Lease, PermitsState } from "../../../src/outbound/semaphore/permit-types.ts";
import { Permits } from "../../../src/outbound/semaphore/permits.ts";
import type { Priority } from "../../../src/outbound/semaphore/wait-queue.ts";
import type { PerKey, Rate, Settings } from "../../../src/outbound/settings.ts";

const LEASE_MS = 2_000;
const SETTINGS: Settings = {
  concurrency: 4,
  rate: undefined,
  adaptive: false,
  isPaused: false,
  maxWaiters: 1_000,
  maxWaitMs: 1e7,
  maxPasses: 4,
  maxPassMs: 60,
};

interface Call {
  id: string;
  key: string | undefined;
  weight: number;
  priority: Priority;
  arrivedAtMs: number;
  order: number;
  /** How often each other key had its turn while this call was the first of its own, and that allowed it. */
  passedBy: Map<string, number>;
}

/** As `expect`, which is too slow for so many. */
function demand(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(otherwise);
}

class World {
  nowMs = 0;
  settings: Settings;
  permits: Permits;
  held = new Map<string, Call>();
  waiting: Call[] = [];
  grants: { atMs: number; key: string | undefined }[] = [];
  /** The model's own account of each key's rate. */
  dueAtMs = new Map<string, number>();
  /** That of a key which no call has used since the restart: all are taken for as fast as the fastest was. */
  unknownDueAtMs = 0;
  interactiveInARow = 0;
  backgroundInARow = 0;
  count = { granted: 0, waited: 0, heavy: 0, passes: 0, tooHeavy: 0 };
  #made = 0;

  constructor(settings: Partial<Settings>) {
    this.settings = { ...SETTINGS, ...settings };
    this.permits = new Permits(this.settings, { atMs: 0, held: [], lastFence: 0, state: undefined });
  }

  sum(calls: Iterable<Call>): number {
    return [...calls].reduce((total, { weight }) => total + weight, 0);
  }

  heldUnder(key: string | undefined): number {
    return this.sum([...this.held.values()].filter((call) => call.key === key));
  }

  maxWeightOf(key: string | undefined): number {
    const own = key === undefined ? Infinity : (this.settings.perKey?.concurrency ?? Infinity);
    return Math.min(this.settings.concurrency, own);
  }

  /** The first of its class and key. */
  heads(priority: Priority): Call[] {
    const keys = new Set<string | undefined>();
    return this.waiting.filter((call) => {
      if (call.priority !== priority || keys.has(call.key)) return false;
      keys.add(call.key);
      return true;
    });
  }

  /** Whether its own key allows a call now; undefined where that is a matter of whose turn it is under the key. */
  isAllowed({ key, weight, priority }: Call): boolean | undefined {
    const { perKey } = this.settings;
    if (key === undefined || !perKey) return true;
    if (this.waiting.some((other) => other.key === key && other.priority !== priority)) return undefined;
    if (this.heldUnder(key) + weight > (perKey.concurrency ?? Infinity)) return false;
    if (!perKey.rate) return true;
    const intervalMs = 1000 / perKey.rate.perSecond;
    return (
      (this.dueAtMs.get(key) ?? this.unknownDueAtMs) - (perKey.rate.burst - 1) * intervalMs <= this.nowMs
    );
  }

  arrive(key: string | undefined, weight: number, priority: Priority): void {
    const id = `${this.#made++}`;
    const passedBy = new Map<string, number>();
    const call = { id, key, weight, priority, arrivedAtMs: this.nowMs, order: this.#made, passedBy };
    const before = this.permits.queue.length;
    const decision = this.permits.request(this.requestOf(call), this.nowMs);
    if (decision.is === "refused") {
      demand(decision.reason !== "queue-full", "The queue is not full.");
      demand((decision.reason === "too-heavy") === weight > this.maxWeightOf(key), "It is not too heavy.");
      if (decision.reason === "too-heavy") this.count.tooHeavy++;
      demand(this.permits.queue.length === before, "Who is refused waits.");
      return;
    }
    demand(weight <= this.maxWeightOf(key), "It is too heavy.");
    if (decision.is === "queued") return void this.waiting.push(call);
    const mayGo = [...this.heads("interactive"), ...this.heads("background")].filter((other) =>
      this.isAllowed(other),
    );
    demand(mayGo.length === 0, "A newcomer was granted a permit while another waits that may go.");
    const isFirst = !this.waiting.some((other) => other.key === key && other.priority === priority);
    demand(isFirst, "A newcomer passed another of its key.");
    this.onGrant(call);
  }

  requestOf({ id, key, weight, priority }: Call) {
    return {
      leaseId: id,
      holder: "",
      priority,
      isRetry: false,
      leaseMs: LEASE_MS,
      ...(key === undefined && weight === 1 && { isolate: "a" }),
      ...(key !== undefined && { key }),
      ...(weight > 1 && { weight }),
    };
  }

  onGrant(call: Call): void {
    const { key, weight, priority } = call;
    this.count.granted++;
    if (weight > 1) this.count.heavy++;
    this.held.set(call.id, call);
    demand(this.sum(this.held.values()) <= this.settings.concurrency, "More is in flight than the limit.");
    demand(this.heldUnder(key) <= this.maxWeightOf(key), "A key has more than its limit.");
    this.grants.push({ atMs: this.nowMs, key });
    this.checkRate(this.settings.rate, this.grants);
    const { perKey } = this.settings;
    if (key === undefined || !perKey?.rate) return;
    const intervalMs = 1000 / perKey.rate.perSecond;
    this.dueAtMs.set(key, Math.max(this.dueAtMs.get(key) ?? this.unknownDueAtMs, this.nowMs) + intervalMs);
    const own = this.grants.filter((grant) => grant.key === key);
    this.checkRate(perKey.rate, own);
    demand(priority.length > 0, "");
  }

  checkRate(rate: Rate | undefined, grants: World["grants"]): void {
    if (!rate) return;
    for (const [i, { atMs }] of grants.entries()) {
      const max = rate.burst + ((this.nowMs - atMs) * rate.perSecond) / 1000;
      demand(grants.length - i <= max + 1e-6, "Calls begin too fast.");
    }
  }

  /** One that waited has its turn. */
  onTurn(id: string): void {
    const call = this.waiting.find((waiting) => waiting.id === id);
    if (!call) throw new Error("A permit was granted to nobody.");
    const { key, priority } = call;
    const ofClass = this.waiting.filter((other) => other.priority === priority);
    demand(ofClass.find((other) => other.key === key) === call, "It was not the first of its key.");
    for (const other of this.heads(priority)) {
      if (other.key === key || !this.isAllowed(other)) continue;
      const passes = (other.passedBy.get(String(key)) ?? 0) + 1;
      other.passedBy.set(String(key), passes);
      this.count.passes++;
      demand(passes <= 1, "A key had two turns before another had one.");
    }
    this.checkClasses(priority);
    this.waiting = this.waiting.filter((other) => other !== call);
    this.count.waited++;
    this.onGrant(call);
  }

  checkClasses(priority: Priority): void {
    if (this.settings.perKey) return; // which of its two classes a key may use is then a matter of its own turns
    const bothWait = new Set(this.waiting.map((call) => call.priority)).size === 2;
    this.interactiveInARow = bothWait && priority === "interactive" ? this.interactiveInARow + 1 : 0;
    this.backgroundInARow = bothWait && priority === "background" ? this.backgroundInARow + 1 : 0;
    demand(this.interactiveInARow <= 4 && this.backgroundInARow <= 1, "A class had too many turns in a row.");
  }

  settle(): void {
    const { granted, expired, lost, refused } = this.permits.advance(this.nowMs);
    for (const { id } of [...expired, ...lost]) this.held.delete(id);
    for (const { waiter, reason } of refused) {
      const call = this.waiting.find(({ id }) => id === waiter.leaseId);
      demand(reason === "breaker-open" || reason === "too-heavy", `Refused: ${reason}.`);
      if (reason === "too-heavy")
        demand(Number(call?.weight) > this.maxWeightOf(call?.key), "It is not too heavy.");
      this.waiting = this.waiting.filter((other) => other !== call);
    }
    for (const { id } of granted) this.onTurn(id);
    this.check();
  }

  check(): void {
    demand(this.permits.heldWeight === this.sum(this.held.values()), "The weights do not add up.");
    demand(this.permits.queue.length === this.waiting.length, "Others wait than the model knows.");
    if (this.waiting.length === 0) return;
    demand(
      Number(this.permits.outlook.nextChangeAtMs(this.nowMs)) > this.nowMs,
      "Something should have happened.",
    );
    const keys = new Set([...this.waiting, ...this.held.values()].flatMap(({ key }) => key ?? []));
    demand(this.permits.keys.length === keys.size, "Keys are known that are not active.");
    for (const { key, waiting, held } of this.permits.keys)
      demand(
        waiting === this.waiting.filter((call) => call.key === key).length && held === this.heldUnder(key),
        "A key's counts are wrong.",
      );
    const listed = [...this.permits.queue].map(({ leaseId }) => leaseId);
    demand(new Set(listed).size === this.waiting.length, "The list of those that wait is wrong.");
  }

  end(call: Call, feedback: Feedback): void {
    this.permits.release(call.id, feedback, this.nowMs, 0.5);
    this.held.delete(call.id);
    this.waiting = this.waiting.filter((other) => other !== call);
  }

  restart(): void {
    const state: PermitsState = JSON.parse(JSON.stringify(this.permits.state));
    const held: Lease[] = [...this.permits.held.values()];
    const own = this.settings.perKey?.rate;
    const wholeBurstMs = own ? (own.burst * 1000) / own.perSecond : 0;
    const latestMs = Math.max(this.unknownDueAtMs, ...this.dueAtMs.values());
    this.unknownDueAtMs = Math.min(latestMs, this.nowMs + wholeBurstMs);
    this.dueAtMs.clear();
    this.permits = new Permits(this.settings, {
      atMs: this.nowMs,
      held,
      lastFence: this.permits.lastFence,
      state,
    });
    const back = this.waiting.splice(0);
    this.interactiveInARow = 0;
    this.backgroundInARow = 0;
    // They come back in any order, and have their places by their arrival.
    for (const call of back.toSorted((a, b) => ((a.order * 7919) % 97) - ((b.order * 7919) % 97))) {
      call.passedBy.clear();
      const { arrivedAtMs } = call;
      const decision = this.permits.request({ ...this.requestOf(call), arrivedAtMs }, this.nowMs);
      if (decision.is === "queued") this.waiting.push(call);
      if (decision.is === "granted") this.onGrant(call);
    }
    this.waiting.sort((a, b) => a.arrivedAtMs - b.arrivedAtMs || this.placeOf(a) - this.placeOf(b));
  }

  /** Of several that arrived at the same time, who has come back first is the first. */
  placeOf(call: Call): number {
    return [...this.permits.queue].findIndex(({ leaseId }) => leaseId === call.id);
  }
}

const KEYS = [undefined, "noisy", "noisy", "noisy", "noisy", "b", "c", "d"];
const pick = <T>(items: T[], n: number): T | undefined => items[n % Math.max(1, items.length)];

const STEPS = {
  arrive: (world, n) =>
    world.arrive(
      pick(KEYS, n),
      [1, 1, 1, 2, 3, 4, 5][n % 7] ?? 1,
      n % 3 === 2 ? "background" : "interactive",
    ),
  light: (world, n) => world.arrive(pick(KEYS, n), 1, n % 5 === 4 ? "background" : "interactive"),
  good: (world, n) => act(pick([...world.held.values()], n), (call) => world.end(call, { outcome: "ok" })),
  bad: (world, n) =>
    act(pick([...world.held.values()], n), (call) =>
      world.end(call, n % 2 ? { outcome: "failed" } : { outcome: "overloaded", retryAfterMs: 50 }),
    ),
  leave: (world, n) => act(pick(world.waiting, n), (call) => world.end(call, { outcome: "unknown" })),
  limit: (world, n) => {
    world.settings = { ...world.settings, concurrency: 1 + (n % 6) };
    world.permits.configure(world.settings, world.nowMs);
  },
  restart: (world) => world.restart(),
  expire: (world) => {
    world.nowMs += LEASE_MS;
  },
} satisfies Record<string, (world: World, n: number) => void>;

function act<T>(item: T | undefined, action: (item: T) => void): void {
  if (item !== undefined) action(item);
}

const step = fc.record({
  is: fc.constantFrom<keyof typeof STEPS>(
    ...(["arrive", "arrive", "arrive", "light", "light", "light", "good", "good", "good", "good"] as const),
    ...(["good", "bad", "leave", "limit", "restart", "expire"] as const),
  ),
  n: fc.nat(500),
  ms: fc.constantFrom(0, 0, 0, 1, 10, 200),
});

const rate = fc.record({ perSecond: fc.constantFrom(2, 20, 200), burst: fc.integer({ min: 1, max: 4 }) });
const limitsOfKeys = fc.oneof(
  fc.record({ concurrency: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ rate }),
  fc.record({ concurrency: fc.integer({ min: 1, max: 4 }), rate }),
);
const settings = fc
  .record({
    adaptive: fc.boolean(),
    rate: fc.option(rate, { nil: undefined, freq: 3 }),
    perKey: fc.option<PerKey, undefined>(limitsOfKeys, { nil: undefined, freq: 2 }),
  })
  .map(({ perKey: own, ...rest }) => ({ ...rest, ...(own && { perKey: own }) }));

function play(world: World, steps: { is: keyof typeof STEPS; n: number; ms: number }[]): void {
  for (const { is, n, ms } of steps) {
    world.nowMs += ms;
    world.settle();
    STEPS[is](world, n);
    world.settle();
  }
}

/** All calls end well, and time passes: whoever waits must have a turn, however much it weighs. */
function drain(world: World): void {
  for (let round = 0; world.waiting.length + world.held.size > 0; round++) {
    demand(round < 2_000, "Somebody waits for ever.");
    for (const call of world.held.values()) world.end(call, { outcome: "ok" });
    world.settle();
    const nextMs = world.permits.outlook.nextChangeAtMs(world.nowMs) ?? world.nowMs;
    if (world.held.size === 0 && world.waiting.length > 0) {
      demand(Number.isFinite(nextMs), "Nothing will ever happen.");
      world.nowMs = Math.ceil(nextMs);
    } else world.nowMs += 1;
    world.settle();
  }
  expect([world.permits.queue.length, world.permits.held.size, world.permits.keys]).toEqual([0, 0, []]);
}

test("in every history: no limit is passed, keys take turns, each in its order, and nobody waits for ever", () => {
  const count = { granted: 0, waited: 0, heavy: 0, passes: 0, tooHeavy: 0 };
  fc.assert(
    fc.property(settings, fc.array(step, { maxLength: 120, size: "max" }), (change, steps) => {
      const world = new World(change);
      play(world, steps);
      drain(world);
      for (const name of Object.keys(count) as (keyof typeof count)[]) count[name] += world.count[name];
    }),
    { numRuns: Number(process.env["MODEL_RUNS"] ?? 400), interruptAfterTimeLimit: 60_000 },
  );
  for (const much of Object.values(count)) expect(much).toBeGreaterThan(100);
});

const request = (
  permits: Permits,
  leaseId: string,
  nowMs: number,
  claim: { key?: string; weight?: number } = {},
) => {
  permits.advance(nowMs);
  return permits.request(
    { leaseId, holder: "", priority: "interactive", isRetry: false, leaseMs: 1e6, ...claim },
    nowMs,
  );
};
const create = (change: Partial<Settings> = {}) =>
  new Permits({ ...SETTINGS, ...change }, { atMs: 0, held: [], lastFence: 0, state: undefined });
const release = (permits: Permits, leaseId: string, nowMs: number) => {
  permits.release(leaseId, { outcome: "ok" }, nowMs, 0);
  return permits.advance(nowMs).granted.map(({ id }) => id);
};

describe("a key", () => {
  test("with a thousand calls that wait delays one with a single call by one turn", () => {
    const permits = create({ concurrency: 1, maxWaiters: 10_000 });
    for (let i = 0; i < 1_001; i++) request(permits, `noisy-${i}`, i, { key: "noisy" });
    request(permits, "small", 2_000, { key: "small" });
    expect(release(permits, "noisy-0", 2_001)).toEqual(["noisy-1"]);
    expect(release(permits, "noisy-1", 2_002)).toEqual(["small"]);
  });

  test("may have as many calls that wait as there is room left", () => {
    const permits = create({ concurrency: 1, maxWaiters: 10 });
    request(permits, "first", 0, { key: "noisy" });
    const ask = (key: string) => {
      for (let queued = 0; ; queued++) {
        const decision = request(permits, `${key}-${queued}`, 0, { key });
        if (decision.is === "refused") return [queued, decision.reason, decision.underKey];
      }
    };
    expect(ask("noisy")).toEqual([5, "too-many-requests", 5]);
    expect(ask("other")).toEqual([3, "too-many-requests", 2]);
    expect(request(permits, "third", 0, { key: "third" }).is).toBe("queued");
  });

  test("that has all its permits keeps its place, and lets others go", () => {
    const permits = create({ concurrency: 3, perKey: { concurrency: 1 } });
    expect(["a1", "a2", "a3"].map((id) => request(permits, id, 0, { key: "a" }).is)).toEqual([
      "granted",
      "queued",
      "queued",
    ]);
    expect(request(permits, "b1", 1, { key: "b" }).is).toBe("granted");
    expect(request(permits, "x", 1).is).toBe("granted");
    expect(request(permits, "y", 1).is).toBe("queued");
    expect(release(permits, "a1", 2)).toEqual(["a2"]);
    expect(release(permits, "b1", 3)).toEqual(["y"]);
  });

  test("has its turn before those that came later, as soon as it may have more", () => {
    const permits = create({ concurrency: 3, perKey: { concurrency: 1 } });
    for (const id of ["a", "b", "c"]) request(permits, id, 0, { key: id });
    request(permits, "a2", 1, { key: "a" });
    for (const id of ["d", "e"]) request(permits, id, 2, { key: id });
    expect(release(permits, "b", 3)).toEqual(["d"]);
    expect(release(permits, "a", 4)).toEqual(["a2"]);
    expect(release(permits, "c", 5)).toEqual(["e"]);
  });

  test("keeps to its own rate, also over a restart, and others do not wait for it", () => {
    const perKey = { rate: { perSecond: 10, burst: 2 } };
    const permits = create({ concurrency: 9, perKey });
    const asks = ["a1", "a2", "a3"].map((id) => request(permits, id, 0, { key: "a" }).is);
    expect(asks).toEqual(["granted", "granted", "queued"]);
    expect(permits.outlook.nextChangeAtMs(0)).toBe(100);
    expect(request(permits, "b", 0, { key: "b" }).is).toBe("granted");
    expect(permits.advance(99).granted).toEqual([]);
    expect(permits.advance(100).granted.map(({ id }) => id)).toEqual(["a3"]);
    const restored = { atMs: 101, held: [], lastFence: 4, state: permits.state };
    const after = new Permits({ ...SETTINGS, perKey }, restored);
    expect(request(after, "a4", 101, { key: "a" }).is).toBe("queued");
    expect(after.advance(200).granted.map(({ id }) => id)).toEqual(["a4"]);
  });
});

describe("a heavy call", () => {
  test("has its turn before lighter ones that came later, and is not passed while permits become free", () => {
    const permits = create({ concurrency: 3 });
    for (const id of ["a", "b", "c"]) request(permits, id, 0);
    request(permits, "heavy", 1, { weight: 3 });
    request(permits, "light", 2);
    expect([release(permits, "a", 3), release(permits, "b", 4)]).toEqual([[], []]);
    expect(permits.outlook.blockAt(4)).toMatchObject({ by: "concurrency" });
    expect(release(permits, "c", 5)).toEqual(["heavy"]);
    expect(release(permits, "heavy", 6)).toEqual(["light"]);
  });

  test("is refused at once if it can never have its permits", () => {
    const permits = create({ concurrency: 3, perKey: { concurrency: 2 } });
    expect(request(permits, "a", 0, { weight: 4 })).toMatchObject({
      is: "refused",
      reason: "too-heavy",
      maxWeight: 3,
    });
    expect(request(permits, "b", 0, { weight: 3, key: "k" })).toMatchObject({
      reason: "too-heavy",
      maxWeight: 2,
    });
    expect(request(permits, "c", 0, { weight: 3 }).is).toBe("granted");
  });

  test("that waits is refused when the limit is lowered below it", () => {
    const permits = create({ concurrency: 3 });
    request(permits, "a", 0);
    request(permits, "heavy", 0, { weight: 3 });
    permits.configure({ ...SETTINGS, concurrency: 2 }, 1);
    expect(permits.advance(1).refused).toMatchObject([{ reason: "too-heavy", waiter: { leaseId: "heavy" } }]);
  });

  test("goes alone where the adaptive limit leaves less than it weighs", () => {
    const permits = create({ concurrency: 4, adaptive: true });
    request(permits, "a", 0);
    permits.release("a", { outcome: "overloaded" }, 1, 0);
    expect(permits.outlook.limitAt(1)).toBe(2);
    expect(request(permits, "heavy", 1, { weight: 4 }).is).toBe("granted");
    expect(request(permits, "light", 1).is).toBe("queued");
  });
});

test("of a key's calls, neither class starves a heavy one of the other", () => {
  for (const [own, others] of [
    ["background", "interactive"],
    ["interactive", "background"],
  ] as const) {
    const permits = create({ concurrency: 9, perKey: { concurrency: 2 } });
    const ask = (leaseId: string, priority: Priority, weight: number) =>
      permits.request({ leaseId, holder: "", priority, isRetry: false, leaseMs: 1e6, key: "k", weight }, 0);
    ask("0", others, 1);
    ask("1", others, 1);
    ask("heavy", own, 2);
    let served = 0;
    // Each light call ends when another has come that would take its place.
    for (; !permits.held.has("heavy") && served < 100; served++) {
      ask(String(served + 2), others, 1);
      release(permits, String(served), 0);
    }
    expect(served).toBeLessThan(10);
  }
});

test("a permit is handed on to nobody while a call with a key waits", () => {
  const permits = create({ concurrency: 1, maxPasses: 100, maxPassMs: 1e6 });
  const plain = { holder: "", priority: "interactive" as const, isRetry: false, leaseMs: 1e6, isolate: "a" };
  permits.request({ ...plain, leaseId: "holder" }, 0);
  permits.request({ ...plain, leaseId: "next" }, 0);
  permits.advance(0);
  expect(permits.tell("next", 0)).toBeDefined();
  request(permits, "keyed", 1, { key: "k" });
  permits.advance(1);
  expect(permits.hasNewsFor("next")).toBe(true);
  expect(permits.tell("next", 1)).toBeUndefined();
});
