/**
 * `ctx.waitUntil`, as production has it: 30 s after its answer an invocation is over, and what it still does is cut off
 * in the middle. The local runtime never cuts. With a limit (`WAIT_UNTIL_CUT_SECONDS`), the runtime is told to wait for no
 * more than that: it then ends the invocation, with every timer and call that is pending in it.
 */
export interface Waiting {
  waitUntil(promise: Promise<unknown>): void;
}

/** The same, cut off `limitMs` after the call; 0 leaves that to the platform. */
export function cutWaiting(ctx: Waiting, limitMs: number): Waiting {
  if (limitMs === 0) return { waitUntil: (promise) => ctx.waitUntil(promise) };
  return { waitUntil: (promise) => ctx.waitUntil(Promise.race([promise, scheduler.wait(limitMs)])) };
}
