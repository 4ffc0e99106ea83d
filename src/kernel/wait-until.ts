/**
 * `ctx.waitUntil`, with the limit that it has in production.
 *
 * The platform ends an invocation 30 s after its response, in the middle of whatever it still does. The local runtime
 * never does. With a limit (`WAIT_UNTIL_CUT_SECONDS`), the runtime is asked to wait for no longer than that; it then ends
 * the invocation, with every timer and call that is pending in it.
 */
export interface WaitUntil {
  waitUntil(promise: Promise<unknown>): void;
}

/** `ctx.waitUntil`, cut off `limitMs` after each call; 0 leaves the limit to the platform. */
export function limitWaitUntil(ctx: WaitUntil, limitMs: number): WaitUntil {
  if (limitMs === 0) return { waitUntil: (promise) => ctx.waitUntil(promise) };
  return { waitUntil: (promise) => ctx.waitUntil(Promise.race([promise, scheduler.wait(limitMs)])) };
}
