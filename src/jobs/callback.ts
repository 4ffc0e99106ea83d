/**
 * Callbacks: a task that has ended tells it to whoever asked, by a signed POST (https://www.standardwebhooks.com).
 *
 * Sending one is a task itself, written together with the end that it tells of, so it is as durable, is retried, and
 * can be looked at. It may arrive more than once: its `webhook-id`, the same over all tries, says so. The tries are
 * the task's alone, and the outbound client makes none of its own: the request has no Idempotency-Key, for the
 * client's next try would follow within a second, spend what the upstream's retry budget has for others, and bear the
 * time and signature of the first.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import { callbackFaultOf, readCallbackKeys } from "../kernel/callbacks.ts";
import { Problem } from "../kernel/problem.ts";
import { fetchUpstream } from "../outbound/index.ts";
import { CALLBACK_TYPE, defineTask, getTask, NonRetryableError, type TaskContext } from "../tasks/index.ts";
import { messageOf, signatureOf } from "./callback-message.ts";
import { readCallbackTargets } from "./callback-targets.ts";

/** After 5 s, 25 s, 2 min, 10 min, 52 min and 4.3 h, and then every 12 h: 11 tries in 2.2 days. */
export const CALLBACK_RETRY = {
  retries: 10,
  minDelayMs: 5_000,
  maxDelayMs: 12 * 3_600_000,
  factor: 5,
};

/** Which end of which task to tell of, and whom. */
const inputSchema = z.object({ taskId: z.string(), finishedAt: z.string(), url: z.string() });

export const callback = defineTask({
  name: CALLBACK_TYPE,
  input: inputSchema,
  retry: CALLBACK_RETRY,
  timeoutMs: 600_000,
  lane: "long",
  run: async (ctx, input) => deliver(workerEnv, ctx, input),
});

/** One try of a callback. Throws if it is to be made again, and a `NonRetryableError` if that would be of no use. */
export async function deliver(
  env: Env,
  ctx: TaskContext,
  { taskId, finishedAt, url }: z.output<typeof inputSchema>,
): Promise<{ status: number }> {
  // It may be set until the tries are over.
  if (readCallbackKeys(env).length === 0) throw new Error("the secret CALLBACK_KEYS is not set");
  const task = await getTask(env, taskId);
  if (!task) throw new NonRetryableError(`the task ${taskId} has been deleted`);
  if (task.finishedAt !== finishedAt)
    throw new NonRetryableError(`the task ${taskId} has been run again: its next end has its own callback`);
  const status = await post(env, ctx, url, messageOf(task));
  if (status >= 200 && status <= 299) return { status };
  if (status !== 410) throw new Error(`the receiver answered with ${status}`);
  ctx.log("warn", "Callback given up: its receiver wants no more.", { about: taskId });
  throw new NonRetryableError("the receiver answered with 410: it wants no more");
}

/** The request, under a permit of the receiver's upstream. Gives the status of the answer, and leaves its body unread. */
async function post(env: Env, ctx: TaskContext, url: string, message: string): Promise<number> {
  const { origin, pathname, search } = new URL(checked(env, url));
  const upstream = readCallbackTargets(env).get(origin);
  if (!upstream) throw new NonRetryableError(`no upstream leads to ${origin}`);
  const headers = {
    "content-type": "application/json",
    ...signatureOf(readCallbackKeys(env), `msg_${ctx.taskId}`, new Date(), message),
  };
  const response = await fetchUpstream(
    { ...ctx, env, type: callback.name },
    upstream.name,
    pathname + search,
    { method: "POST", headers, body: message, redirect: "error" },
  ).catch(giveUpIfRefused);
  await response.body?.cancel();
  return response.status;
}

/** The configuration may have changed since the callback was asked for. */
function checked(env: Env, url: string): string {
  const fault = callbackFaultOf(env, url);
  if (fault === undefined) return url;
  throw new NonRetryableError(fault);
}

/** A path that this Worker does not call is not called later either; of all else that is thrown, time may be a cure. */
function giveUpIfRefused(error: unknown): never {
  const isRefused = error instanceof Problem && (error.kind === "forbidden" || error.kind === "malformed");
  throw isRefused ? new NonRetryableError(error.detail, { cause: error }) : error;
}
