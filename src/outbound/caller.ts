/** On whose behalf a call is made, found in whatever context the code that makes it has. */
import { env as workerEnv } from "cloudflare:workers";
import type { Context } from "hono";
import type { AppEnv, Principal } from "../kernel/app-env.ts";
import type { Caller } from "./client/call-under-permit.ts";

/** A task: the context that its `run` gets fits. Its calls are background work. */
export interface TaskCallContext {
  taskId: string;
  signal: AbortSignal;
  waitUntil(promise: Promise<unknown>): void;
  /** The task's type, shown as the holder of the permit. */
  type?: string;
  /** Default: the Worker's own. */
  env?: Env;
}

/** Code that has neither a task's context nor a route's. Its calls are interactive. */
interface PlainCallContext {
  env: Env;
  executionCtx: Pick<ExecutionContext, "waitUntil">;
  requestId: string;
  /** Aborts when nobody wants the response any longer. Default: never. */
  signal?: AbortSignal;
}

/** The context that a call is made in: a task's, a route's (Hono's `c`), or its parts. */
export type CallContext = TaskCallContext | Context<AppEnv> | PlainCallContext;

export function callerOf(context: CallContext): Caller {
  if ("taskId" in context) return taskCaller(context);
  return "req" in context ? routeCaller(context) : plainCaller(context);
}

function taskCaller(task: TaskCallContext): Caller {
  return {
    env: task.env ?? workerEnv,
    ctx: { waitUntil: (promise) => task.waitUntil(promise) },
    requestId: task.taskId,
    name: task.type ?? "task",
    priority: "background",
    signal: task.signal,
  };
}

function routeCaller(c: Context<AppEnv>): Caller {
  // A route that is open to everybody has no principal.
  const principal: Principal | undefined = c.get("principal");
  return {
    env: c.env,
    ctx: c.executionCtx,
    requestId: c.get("requestId"),
    name: principal?.name ?? "anonymous",
    priority: "interactive",
    signal: c.req.raw.signal,
  };
}

function plainCaller({ env, executionCtx, requestId, signal }: PlainCallContext): Caller {
  return {
    env,
    ctx: executionCtx,
    requestId,
    name: "worker",
    priority: "interactive",
    signal: signal ?? new AbortController().signal,
  };
}
