/**
 * Passes a pause that the upstream has asked one shard for on to the others.
 *
 * Whatever asks for a pause comes in bursts, since many calls are in flight. So all shards pause a little longer than was
 * asked for, and tell each other again only when a pause reaches beyond that: two rounds of messages a second at most, from
 * all of them together, since whoever was told knows that the others were.
 */

/** By how much they pause longer. */
export const AHEAD_MS = 500;

export class Siblings {
  readonly #tell: (pauseMs: number) => void;
  /** Until when all of them pause, as far as is known. */
  #pausedUntilMs = 0;

  /** `tell` has this shard and each of the others pause for so long from now. */
  constructor(tell: (pauseMs: number) => void) {
    this.#tell = tell;
  }

  /** This shard is paused until then. After a restart that is told once more: it may not have come to it before. */
  onPause(untilMs: number, nowMs: number): void {
    if (untilMs <= nowMs || untilMs <= this.#pausedUntilMs) return;
    this.#pausedUntilMs = untilMs + AHEAD_MS;
    this.#tell(this.#pausedUntilMs - nowMs);
  }

  /** Another shard has told all of them to pause. */
  onTold(pauseMs: number, nowMs: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, nowMs + pauseMs);
  }

  /** An operator has ended the pause, at all of them. */
  onResume(): void {
    this.#pausedUntilMs = 0;
  }
}
