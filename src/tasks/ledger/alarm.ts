/**
 * The single alarm of a Durable Object, set to the earliest time that anyone has asked for. It is set in the same
 * turn as the write that needs it, so the two are committed together.
 *
 * Setting it costs a row, and asking what it is set to costs nothing. So it is only set when that changes anything.
 */
import type { Registration } from "../../kernel/object-registry.ts";

/** An alarm that is this late has been lost: the runtime gives one up that has failed too often. */
export const OVERDUE_MS = 5_000;

export class Alarm {
  readonly #ctx: DurableObjectState;
  readonly #registration: Pick<Registration, "ensure">;
  /** The time that this instance believes the alarm is set to. */
  #setToMs = Number.POSITIVE_INFINITY;

  constructor(ctx: DurableObjectState, registration: Pick<Registration, "ensure">) {
    this.#ctx = ctx;
    this.#registration = registration;
  }

  /** Learns what the alarm is set to. An alarm that has been lost counts as not set. */
  async load(nowMs: number): Promise<void> {
    const setToMs = await this.#ctx.storage.getAlarm();
    const isLost = setToMs === null || setToMs < nowMs - OVERDUE_MS;
    this.#setToMs = isLost ? Number.POSITIVE_INFINITY : setToMs;
    // Set by a version that registered no object.
    if (!isLost) this.#registration.ensure();
  }

  wakeAt(timeMs: number): void {
    if (timeMs >= this.#setToMs) return;
    this.#setToMs = timeMs;
    this.#ctx.waitUntil(this.#ctx.storage.setAlarm(timeMs));
    this.#registration.ensure();
  }

  /** Ignores `wakeAt` until `reset`: the alarm is running and will be set again at its end. */
  suspend(): void {
    this.#setToMs = Number.NEGATIVE_INFINITY;
  }

  /** Forgets the time it was set to: the next `wakeAt` sets the alarm whatever its time. */
  reset(): void {
    this.#setToMs = Number.POSITIVE_INFINITY;
  }
}
