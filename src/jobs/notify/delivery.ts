/**
 * One try to deliver a webhook: a signed POST to one of the configured origins (https://www.standardwebhooks.com), under a
 * background permit of the receiver's upstream.
 *
 * All tries of a task have the same `webhook-id`, made of the task's id. Each has a time and a signature of its own.
 *
 * Only the task retries; the outbound client does not. So the request has no Idempotency-Key, with which the client
 * would retry within a second, use up the upstream's shared retry budget, and repeat the time and signature of the first
 * try.
 */
import { readCallbackKeys } from "../../kernel/callbacks.ts";
import { Problem } from "../../kernel/problem.ts";
import { fetchUpstream } from "../../outbound/index.ts";
import { NonRetryableError, type TaskContext } from "../../tasks/index.ts";
import { callbackTargetError, readCallbackTargets } from "./callback-targets.ts";
import { signMessage } from "./signature.ts";

/** After 5 s, 25 s, 2 min, 10 min, 52 min and 4.3 h, and then every 12 h: 11 tries in 2.2 days. */
export const DELIVERY_RETRY = {
  retries: 10,
  minDelayMs: 5_000,
  maxDelayMs: 12 * 3_600_000,
  factor: 5,
};

/** The limits of a type that delivers webhooks. */
export const DELIVERY_LIMITS = { retry: DELIVERY_RETRY, timeoutMs: 600_000, lane: "long" } as const;

interface Webhook {
  url: string;
  /** The body, exactly as it is signed and sent. */
  message: string;
  /** What it is, for an error: `the callback of s0-…`. */
  name: string;
  /** The type of the task that sends it. */
  sender: string;
}

/** Throws if the webhook must be sent again, and a `NonRetryableError` if that would be useless. */
export async function deliverWebhook(
  env: Env,
  ctx: TaskContext,
  webhook: Webhook,
): Promise<{ status: number }> {
  checkKeys(env);
  const status = await post(env, ctx, webhook);
  if (status >= 200 && status <= 299) return { status };
  if (status !== 410) throw new Error(`the receiver responded with ${status}`);
  throw new NonRetryableError(`the receiver responded with 410 Gone to ${webhook.name}`);
}

/** Throws an error that is retried: the key may be set before the last try. */
export function checkKeys(env: Env): void {
  if (readCallbackKeys(env).length === 0) throw new Error("the secret CALLBACK_KEYS is not set");
}

/** Why no webhook can be sent at all, as a sentence; undefined if one can. */
export function webhooksUnavailable(env: Env): string | undefined {
  try {
    if (readCallbackKeys(env).length === 0)
      return "The secret CALLBACK_KEYS is not set: npx wrangler secret put CALLBACK_KEYS.";
  } catch (error) {
    if (error instanceof Problem) return error.detail;
    throw error;
  }
  if (readCallbackTargets(env).size > 0) return undefined;
  return "No webhook may go anywhere: name the receivers in the variable CALLBACK_ORIGINS.";
}

/** Returns the response's status, and does not read its body. */
async function post(env: Env, ctx: TaskContext, { url, message, sender }: Webhook): Promise<number> {
  const { origin, pathname, search } = new URL(checkUrl(env, url));
  const upstream = readCallbackTargets(env).get(origin);
  if (!upstream) throw new NonRetryableError(`no upstream has the origin ${origin}`);
  const headers = {
    "content-type": "application/json",
    ...signMessage(readCallbackKeys(env), `msg_${ctx.taskId}`, new Date(), message),
  };
  const response = await fetchUpstream({ ...ctx, env, type: sender }, upstream.name, pathname + search, {
    method: "POST",
    headers,
    body: message,
    redirect: "error",
  }).catch(stopIfRefused);
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
