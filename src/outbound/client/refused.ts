/** What a caller is told that was refused a permit. */
import { countCallers } from "../../kernel/access.ts";
import { Problem } from "../../kernel/problem.ts";
import { tooManyRequests } from "../../kernel/rate-limit.ts";
import type { Refusal } from "../semaphore/permit-types.ts";
import type { Upstream } from "../upstreams.ts";

/** How much of the queue one caller may fill: half of it is for others, if there are any. */
export function maxWaitingOf(env: Env, { maxWaiters }: Upstream): number {
  return countCallers(env) > 1 ? Math.ceil(maxWaiters / 2) : maxWaiters;
}

export function refused(
  env: Env,
  upstream: Upstream,
  { reason, retryAfterMs, byOperator, underKey, maxWeight = 1 }: Refusal,
): Problem {
  if (reason === "too-heavy")
    return new Problem(
      reason,
      `A call of this weight can have no permit of "${upstream.name}": here a call may weigh ${maxWeight} at most.`,
    );
  if (underKey !== undefined) {
    const share = { policy: "limit-key", quota: underKey };
    const detail = `As many calls with this limit key wait for "${upstream.name}" as there is room left: ${underKey}.`;
    return tooManyRequests(share, detail, retryAfterMs);
  }
  if (reason === "too-many-requests") {
    const share = { policy: "queue", quota: maxWaitingOf(env, upstream) };
    const detail = `${share.quota} of your calls already wait for "${upstream.name}". The rest of its queue is for others.`;
    return tooManyRequests(share, detail, retryAfterMs);
  }
  const detail = {
    "queue-full": queueFull(upstream),
    "wait-limit": `No permit for "${upstream.name}" became free within ${upstream.maxWaitMs} ms.`,
    paused: byOperator
      ? `An operator has paused "${upstream.name}", for an unknown time. Retry-After is a guess.`
      : `"${upstream.name}" is paused, because the upstream asked for it (Retry-After).`,
    "breaker-open": `"${upstream.name}" has failed too often, so it is not called for a while.`,
  }[reason];
  return new Problem(reason, detail, {
    headers: { "Retry-After": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
  });
}

const queueFull = ({ name, maxWaiters, shards }: Upstream): string =>
  shards === 1
    ? `${maxWaiters} calls already wait for "${name}".`
    : `${maxWaiters} calls may wait for "${name}", over ${shards} shards, and the queues of the shards that were asked are full.`;
