/**
 * Runs `action` until it succeeds, with a jittered pause (ms) before each retry. Throws what the last try threw.
 * Calls to Durable Objects have rules of their own: see `objects.ts`.
 */
export async function retry<T>(action: () => Promise<T>, pausesMs: readonly number[]): Promise<T> {
  for (const pauseMs of pausesMs) {
    try {
      return await action();
    } catch {
      await scheduler.wait(pauseMs * (0.5 + Math.random()));
    }
  }
  return action();
}
