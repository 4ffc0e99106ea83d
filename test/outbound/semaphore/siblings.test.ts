/** How a pause that one shard hears of comes to the others, and how many messages that takes. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { AHEAD_MS, Siblings } from "../../../src/outbound/semaphore/siblings.ts";

/** Shards that tell each other at once, and until when each is paused. */
class Shards {
  readonly untilMs: number[];
  rounds = 0;
  nowMs = 0;
  readonly #all: Siblings[];

  constructor(count: number) {
    this.untilMs = Array.from({ length: count }, () => 0);
    this.#all = this.untilMs.map(
      (_, from) =>
        new Siblings((pauseMs) => {
          this.rounds++;
          this.untilMs[from] = this.nowMs + pauseMs;
          for (const to of this.untilMs.keys()) if (to !== from) this.#hear(to, pauseMs);
        }),
    );
  }

  /** The upstream asks a shard for a pause. */
  ask(shard: number, pauseMs: number): void {
    this.#pause(shard, pauseMs);
  }

  resume(): void {
    this.untilMs.fill(this.nowMs);
    for (const one of this.#all) one.onResume();
  }

  #hear(shard: number, pauseMs: number): void {
    this.#all[shard]?.onTold(pauseMs, this.nowMs);
    this.#pause(shard, pauseMs);
  }

  #pause(shard: number, pauseMs: number): void {
    this.untilMs[shard] = Math.max(this.untilMs[shard] ?? 0, this.nowMs + pauseMs);
    this.#all[shard]?.onPause(this.untilMs[shard], this.nowMs);
  }
}

test("a pause comes to all, a little longer, and is not passed on by those who were told", () => {
  const shards = new Shards(4);
  shards.ask(2, 1_000);
  expect(shards.untilMs).toEqual([1_500, 1_500, 1_500, 1_500]);
  expect(shards.rounds).toBe(1);
});

test("after a resume, a shorter pause is told again", () => {
  const shards = new Shards(2);
  shards.ask(0, 60_000);
  shards.nowMs = 10;
  shards.resume();
  shards.ask(0, 1_000);
  expect(shards.untilMs).toEqual([1_510, 1_510]);
});

test("whatever shards are asked for: none resumes before the longest pause that any knew of, and there are few messages", () => {
  const asks = fc.array(
    fc.record({ afterMs: fc.nat(20), shard: fc.nat(7), pauseMs: fc.integer({ min: 1, max: 5_000 }) }),
    { minLength: 1, maxLength: 300 },
  );
  fc.assert(
    fc.property(asks, fc.integer({ min: 2, max: 8 }), (all, count) => {
      const shards = new Shards(count);
      let longestMs = 0;
      for (const { afterMs, shard, pauseMs } of all) {
        shards.nowMs += afterMs;
        shards.ask(shard % count, pauseMs);
        longestMs = Math.max(longestMs, shards.nowMs + pauseMs);
        expect(Math.min(...shards.untilMs)).toBeGreaterThanOrEqual(longestMs);
      }
      // Each round but the first takes the pause further by more than it is told ahead.
      expect(shards.rounds).toBeLessThanOrEqual(1 + longestMs / AHEAD_MS);
    }),
  );
});
