/**
 * Which shard of an upstream a call goes to: the better of two at random. No clock, network or randomness in here.
 *
 * Better is the one with fewer calls for each of its permits, by what this isolate knows: what the shard last said when it
 * answered a request for a permit, and which calls of this isolate have begun or ended there since. That costs no message.
 * It may be wrong, since other isolates call too, and two at random forgive that: whoever is told of the emptiest shard
 * does not run there together with all others.
 *
 * What was said counts for a short time only, and so do calls of which only the beginning was seen, because their
 * invocation died: the next answer sets it right.
 */
import type { ShardLoad } from "../semaphore/ticket.ts";

/** For how long it counts how busy a shard was. */
export const LOAD_MS = 2_000;
/** For how long a shard is passed over that has no permits: an operator may have lowered the limit, and raises it again. */
export const NO_PERMITS_MS = 10_000;

interface Known {
  permits: number;
  /** Calls that held or wanted a permit, by the answer to a request that was sent when `net` was `netThen`. */
  calls: number;
  netThen: number;
  untilMs: number;
  /** Calls of this isolate that have begun there, less those that have ended. */
  net: number;
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
    const unknown = { calls: 0, netThen: 0, untilMs: 0, net: 0, avoidedUntilMs: 0 };
    this.#shards = permits.map((count) => ({ ...unknown, permits: count }));
  }

  /**
   * The better of two shards; undefined if none is left that was not `tried`. `random` returns numbers from 0 to below 1.
   */
  choose(nowMs: number, random: () => number, tried: ReadonlySet<number> = new Set()): number | undefined {
    const used = nowMs < this.#usedUntilMs ? this.#used : this.#shards.length;
    const left = [...this.#shards.keys()].filter((shard) => shard < used && !tried.has(shard));
    const [first] = left.splice(Math.floor(random() * left.length), 1);
    const [second] = left.splice(Math.floor(random() * left.length), 1);
    if (first === undefined || second === undefined) return first;
    return this.#isBetter(second, first, nowMs) ? second : first;
  }

  /** A call begins at a shard. */
  begin(shard: number): void {
    this.#at(shard).net++;
  }

  /** It has ended: its permit is released or handed on, or it has none and no place in the queue. */
  end(shard: number): void {
    this.#at(shard).net--;
  }

  /** A request for a permit is sent. Returns what `hear` needs when it is answered. */
  send(shard: number): number {
    return this.#at(shard).net;
  }

  /** A shard has said how busy it is, with the call that asked. `sent`: as `send` returned it. */
  hear(shard: number, sent: number, { permits, calls }: ShardLoad, nowMs: number): void {
    if (permits === 0) this.#onNoPermits(shard, nowMs);
    else if (shard >= this.#used) this.#used = shard + 1;
    if (permits > 0)
      Object.assign(this.#at(shard), { permits, calls, netThen: sent, untilMs: nowMs + LOAD_MS });
  }

  /** A shard does not respond, or refuses for a while. */
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

  #isBetter(a: number, b: number, nowMs: number): boolean {
    const [isAvoided, isOtherAvoided] = [a, b].map((shard) => nowMs < this.#at(shard).avoidedUntilMs);
    if (isAvoided !== isOtherAvoided) return isOtherAvoided === true;
    return this.#pressure(a, nowMs) < this.#pressure(b, nowMs);
  }

  /** How many calls there would be for each permit, with one more. */
  #pressure(shard: number, nowMs: number): number {
    const known = this.#at(shard);
    if (nowMs >= known.untilMs)
      Object.assign(known, { calls: 0, netThen: known.net, untilMs: nowMs + LOAD_MS });
    return (Math.max(0, known.calls + known.net - known.netThen) + 1) / known.permits;
  }

  #at(shard: number): Known {
    const known = this.#shards[shard];
    if (!known) throw new Error(`There is no shard ${shard}.`);
    return known;
  }
}
