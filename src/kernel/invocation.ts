/**
 * Which invocation code runs in. Some limits of the platform hold for everything in one together: a route, say, and the
 * tasks that run in the same invocation. What runs in it, or follows from it, finds the same object here.
 */
import { AsyncLocalStorage } from "node:async_hooks";

const current = new AsyncLocalStorage<object>();

/** Runs `action` as an invocation, unless it is part of one already. */
export const asInvocation = <T>(action: () => T): T =>
  current.getStore() === undefined ? current.run({}, action) : action();

/** Stands for the invocation; undefined in code that nobody has run as one. */
export const currentInvocation = (): object | undefined => current.getStore();
