/**
 * Passes a pause that the upstream has asked one shard for on to the others.
 *
 * Whatever asks for a pause comes in bursts, since many calls are in flight. So the others are told to pause a little
 * longer than this shard knows yet, and told again only when its own pause reaches beyond that: two rounds a second at
 * most, from all shards together, since who was told knows that the others were.
 */

/** By how much the others pause longer. */
export const AHEAD_MS = 500;

export class Siblings {
  readonly #tell: (pauseMs: number) => void;
  /** Until when the others pause, as far as is known. */
  #pausedUntilMs = 0;

  /** `tell` tells each of the others to pause for so long from now. */
  constructor(tell: (pauseMs: number) => void) {
    this.#tell = tell;
  }

  /** This shard is paused until then. After a restart it tells so once more: it may not have come to it before. */
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
