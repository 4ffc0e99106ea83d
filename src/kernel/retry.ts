/**
 * Runs `action` until it succeeds, with a jittered pause (ms) before each retry. Throws what the last try threw, and
 * throws an error for which `isFinal` holds at once.
 *
 * This is for calls to our own Durable Objects, which fail while an object restarts. The action must take a fresh stub
 * each time, since the restart breaks the old one.
 */
export async function retry<T>(
  action: () => Promise<T>,
  pausesMs: readonly number[],
  isFinal: (error: unknown) => boolean = () => false,
): Promise<T> {
  for (const pauseMs of pausesMs) {
    try {
      return await action();
    } catch (error) {
      if (isFinal(error)) throw error;
    }
    await scheduler.wait(pauseMs * (0.5 + Math.random()));
  }
  return action();
}

/** Pauses that outlast the restart of a Durable Object: about three seconds in total. */
export const RESTART_PAUSES_MS = [20, 100, 500, 2_000];
