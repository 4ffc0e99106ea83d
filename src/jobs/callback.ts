/**
 * Callbacks: when a task ends, a signed POST reports it to the URL that its caller gave
 * (https://www.standardwebhooks.com).
 *
 * Sending a callback is a task itself, written in one transaction with the end that it reports. So it is as durable as
 * the task, is retried, and can be watched. It may arrive more than once; all tries have the same `webhook-id`.
 *
 * Only the task retries; the outbound client does not. So the request has no Idempotency-Key, with which the client
 * would retry within a second, use up the upstream's shared retry budget, and repeat the time and signature of the first
 * try.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import { readCallbackKeys } from "../kernel/callbacks.ts";
import { Problem } from "../kernel/problem.ts";
import { fetchUpstream } from "../outbound/index.ts";
import { CALLBACK_TYPE, defineTask, getTask, NonRetryableError, type TaskContext } from "../tasks/index.ts";
import { signMessage, toMessage } from "./callback-signature.ts";
import { callbackTargetError, readCallbackTargets } from "./callback-targets.ts";

/** After 5 s, 25 s, 2 min, 10 min, 52 min and 4.3 h, and then every 12 h: 11 tries in 2.2 days. */
export const CALLBACK_RETRY = {
  retries: 10,
  minDelayMs: 5_000,
  maxDelayMs: 12 * 3_600_000,
  factor: 5,
};

/** The task, which of its ends to report, and where. */
const inputSchema = z.object({ taskId: z.string(), finishedAt: z.string(), url: z.string() });

export const callback = defineTask({
  name: CALLBACK_TYPE,
  input: inputSchema,
  retry: CALLBACK_RETRY,
  timeoutMs: 600_000,
  lane: "long",
  run: async (ctx, input) => deliver(workerEnv, ctx, input),
});

/** One try of a callback. Throws if it must be retried, and a `NonRetryableError` if a retry would be useless. */
export async function deliver(
  env: Env,
  ctx: TaskContext,
  { taskId, finishedAt, url }: z.output<typeof inputSchema>,
): Promise<{ status: number }> {
  // Retried: the key may be set before the last try.
  if (readCallbackKeys(env).length === 0) throw new Error("the secret CALLBACK_KEYS is not set");
  const task = await getTask(env, taskId);
  if (!task) throw new NonRetryableError(`the task ${taskId} has been deleted`);
  if (task.finishedAt !== finishedAt)
    throw new NonRetryableError(
      `the task ${taskId} has been run again, and its next end has a callback of its own`,
    );
  const status = await post(env, ctx, url, toMessage(task));
  if (status >= 200 && status <= 299) return { status };
  if (status !== 410) throw new Error(`the receiver responded with ${status}`);
  throw new NonRetryableError(`the receiver responded with 410 Gone to the callback of ${taskId}`);
}

/** Sends the request under a permit of the receiver's upstream. Returns the response's status, and does not read its body. */
async function post(env: Env, ctx: TaskContext, url: string, message: string): Promise<number> {
  const { origin, pathname, search } = new URL(checkUrl(env, url));
  const upstream = readCallbackTargets(env).get(origin);
  if (!upstream) throw new NonRetryableError(`no upstream has the origin ${origin}`);
  const headers = {
    "content-type": "application/json",
    ...signMessage(readCallbackKeys(env), `msg_${ctx.taskId}`, new Date(), message),
  };
  const response = await fetchUpstream(
    { ...ctx, env, type: callback.name },
    upstream.name,
    pathname + search,
    { method: "POST", headers, body: message, redirect: "error" },
  ).catch(stopIfRefused);
  await response.body?.cancel();
  return response.status;
}

/** The configuration may have changed since the task was submitted. */
function checkUrl(env: Env, url: string): string {
  const error = callbackTargetError(env, url);
  if (error === undefined) return url;
  throw new NonRetryableError(error);
}

/** A path that the upstream's configuration forbids stays forbidden. Any other error may be gone at the next try. */
function stopIfRefused(error: unknown): never {
  const isRefused = error instanceof Problem && (error.kind === "forbidden" || error.kind === "malformed");
  throw isRefused ? new NonRetryableError(error.detail, { cause: error }) : error;
}
