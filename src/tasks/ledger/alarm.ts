/**
 * The one alarm of an object, set to the earliest of the times that are asked for. It is set in the same turn as what
 * it is for is written, and so committed with it.
 */
export class Alarm {
  readonly #ctx: DurableObjectState;
  /** As far as this instance knows. */
  #setToMs = Number.POSITIVE_INFINITY;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
  }

  wakeAt(timeMs: number): void {
    if (timeMs >= this.#setToMs) return;
    this.#setToMs = timeMs;
    this.#ctx.waitUntil(this.#ctx.storage.setAlarm(timeMs));
  }

  /** It has rung: what happens until `forget` needs none, for it is set anew then. */
  hold(): void {
    this.#setToMs = Number.NEGATIVE_INFINITY;
  }

  /** Whatever it was set to is not to be relied on: the next time that is asked for sets it. */
  forget(): void {
    this.#setToMs = Number.POSITIVE_INFINITY;
  }
}
