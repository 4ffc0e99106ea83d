/**
 * Calls that one invocation makes side by side take turns.
 *
 * The platform gives an invocation six connections: so many of its calls may wait for the head of their response at
 * once, those to objects perhaps included (it does not say), and any more wait. A call to an upstream waits for a permit
 * before that, and another call of the same invocation may have to end first. So no more than `MAX_AT_ONCE` are between
 * the request for their permit and the head of their response: whatever ends one of them finds a connection. And none
 * holds a permit while it waits for a connection.
 */
import { currentInvocation } from "../../kernel/invocation.ts";

const MAX_AT_ONCE = 4;

/** Ends a turn. Harmless if it has ended. */
export type EndTurn = () => void;

class Turns {
  #left = MAX_AT_ONCE;
  /** Whoever waits for a turn, in the order of arrival. */
  readonly #waiting = new Set<() => void>();

  async take(signal: AbortSignal): Promise<EndTurn> {
    if (this.#left > 0) this.#left--;
    else await this.#wait(signal);
    let hasEnded = false;
    return () => {
      if (!hasEnded) this.#passOn();
      hasEnded = true;
    };
  }

  async #wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = () => {
      // Whoever has been given a turn keeps it.
      if (this.#waiting.delete(resolve)) reject(signal.reason);
    };
    this.#waiting.add(resolve);
    signal.addEventListener("abort", leave, { once: true });
    await promise.finally(() => signal.removeEventListener("abort", leave));
  }

  #passOn(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#left++;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

const turns = new WeakMap<object, Turns>();

/**
 * Waits for a turn in the current invocation, or in that of `ctx` if nobody has said which it is. Rejects with the
 * signal's reason if that aborts first.
 */
export async function takeTurn(ctx: object, signal: AbortSignal): Promise<EndTurn> {
  const invocation = currentInvocation() ?? ctx;
  const taken = turns.get(invocation) ?? new Turns();
  turns.set(invocation, taken);
  return taken.take(signal);
}
