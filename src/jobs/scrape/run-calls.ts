/** The calls of a run. They end with it: none is in flight any longer when it has failed. */
import type { TaskContext } from "../../tasks/index.ts";
import type { Caller } from "./calls.ts";

export function callsOf(ctx: TaskContext, type: string): { caller: Caller } & Disposable {
  const end = new AbortController();
  const signal = AbortSignal.any([ctx.signal, end.signal]);
  const waitUntil = (promise: Promise<unknown>) => ctx.waitUntil(promise);
  return {
    caller: { taskId: ctx.taskId, signal, type, waitUntil },
    [Symbol.dispose]: () => end.abort(),
  };
}
