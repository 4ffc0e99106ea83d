/**
 * Which shard of an upstream a call goes to: the better of two at random. No clock, network or randomness in here.
 *
 * Better is the one where this isolate has fewer calls under way for each of its permits. It knows that to the call, at
 * once and without a message. How many calls other isolates have there it could only know from answers: those are old
 * when they are used, and have many isolates run to the same shard together. In simulations that was worse than not to
 * know it (test/outbound/client/shard-loads.test.ts).
 */
import type { ShardLoad } from "../semaphore/ticket.ts";

/** For how long a shard is passed over that has no permits: an operator may have lowered the limit, and raises it again. */
export const NO_PERMITS_MS = 2_000;

interface Known {
  permits: number;
  /** Calls of this isolate that hold or want a permit of it. */
  calls: number;
  avoidedUntilMs: number;
}

export class ShardLoads {
  readonly #shards: Known[];
  /** From this shard on, none has a permit. */
  #used: number;
  #usedUntilMs = 0;

  /** `permits`: of each shard, as configured. */
  constructor(permits: readonly number[]) {
    this.#used = permits.length;
    this.#shards = permits.map((count) => ({ permits: count, calls: 0, avoidedUntilMs: 0 }));
  }

  /**
   * The better of two shards, each drawn as often as it has permits; undefined if none is left that was not `tried`.
   * `random` returns numbers from 0 to below 1.
   */
  choose(nowMs: number, random: () => number, tried: ReadonlySet<number> = new Set()): number | undefined {
    const left = [...this.#shards.keys()].filter(
      (shard) => !tried.has(shard) && this.mayHavePermits(shard, nowMs),
    );
    const first = this.#draw(left, random);
    const second = this.#draw(
      left.filter((shard) => shard !== first),
      random,
    );
    if (first === undefined || second === undefined) return first;
    return this.#isBetter(second, first, nowMs) ? second : first;
  }

  /** A call begins at a shard. */
  begin(shard: number): void {
    this.#at(shard).calls++;
  }

  /** It has ended: its permit is released or handed on, or it has none and no place in the queue. */
  end(shard: number): void {
    const known = this.#at(shard);
    known.calls = Math.max(0, known.calls - 1);
  }

  /** A request for a permit is sent. Returns what `hear` needs when it is answered. */
  send(shard: number): number {
    return this.#at(shard).calls;
  }

  /**
   * A shard has said how many permits it has, and how many calls, with the one that asked. If those are fewer than this
   * isolate had there when it asked, the invocations of some have died, and will not say that they have ended.
   */
  hear(shard: number, sent: number, { permits, calls }: ShardLoad, nowMs: number): void {
    if (permits === 0) return this.#onNoPermits(shard, nowMs);
    this.#used = Math.max(this.#used, shard + 1);
    const known = this.#at(shard);
    known.permits = permits;
    known.calls = Math.max(0, known.calls - Math.max(0, sent - calls));
  }

  /** A shard does not respond, or refuses calls for a while. */
  avoid(shard: number, untilMs: number): void {
    const known = this.#at(shard);
    known.avoidedUntilMs = Math.max(known.avoidedUntilMs, untilMs);
  }

  /** Whether a shard has permits, as far as is known. */
  mayHavePermits(shard: number, nowMs: number): boolean {
    return shard < this.#used || nowMs >= this.#usedUntilMs;
  }

  /** Permits are where the lower numbers are: those after this one have none either. */
  #onNoPermits(shard: number, nowMs: number): void {
    this.#used = nowMs < this.#usedUntilMs ? Math.min(this.#used, shard) : shard;
    this.#usedUntilMs = nowMs + NO_PERMITS_MS;
  }

  #draw(shards: readonly number[], random: () => number): number | undefined {
    const total = shards.reduce((sum, shard) => sum + this.#at(shard).permits, 0);
    let left = random() * total;
    return shards.find((shard) => (left -= this.#at(shard).permits) < 0) ?? shards.at(-1);
  }

  /**
   * Whether a shard would have no more calls for each permit, with one more, than the other has without it. So between two
   * that hardly differ, chance decides, and not that one of them has a permit more.
   */
  #isBetter(shard: number, other: number, nowMs: number): boolean {
    const [one, two] = [this.#at(shard), this.#at(other)];
    const isAvoided = ({ avoidedUntilMs }: Known) => nowMs < avoidedUntilMs;
    if (isAvoided(one) !== isAvoided(two)) return isAvoided(two);
    return (one.calls + 1) / one.permits <= two.calls / two.permits;
  }

  #at(shard: number): Known {
    const known = this.#shards[shard];
    if (!known) throw new Error(`There is no shard ${shard}.`);
    return known;
  }
}
