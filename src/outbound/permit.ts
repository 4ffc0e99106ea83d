/**
 * The caller's side of the semaphore: gets a permit, keeps its place through restarts of the object, gives it back.
 */
import { errorFields, log } from "../kernel/log.ts";
import { Problem } from "../kernel/problem.ts";
import { RESTART_PAUSES_MS, retry } from "../kernel/retry.ts";
import type { Lease, PermitRequest } from "./permits.ts";
import type { Upstream } from "./upstreams.ts";

/** How much longer a lease is than the call it is for, so that the call is always over first. */
const LEASE_MARGIN_MS = 5_000;

/** The right to call an upstream now. It must be released, once, when the call is over. */
export interface Permit {
  /** Grows with every permit of the upstream. */
  fence: number;
  release(): Promise<void>;
}

/**
 * Gets a permit, waiting in line for it if need be. Throws a 503 `Problem` when the line is full or the wait limit
 * is reached. If the caller dies, the runtime disposes its ticket, and its permit or place is free at once.
 */
export async function acquirePermit(env: Env, upstream: Upstream): Promise<Permit> {
  const leaseId = crypto.randomUUID();
  const { lease, ticket } = await untilGranted(env, upstream, {
    leaseId,
    leaseMs: upstream.timeoutMs + LEASE_MARGIN_MS,
  });
  return {
    fence: lease.fence,
    release: async () => {
      try {
        await retry(() => semaphoreOf(env, upstream).release(leaseId), RESTART_PAUSES_MS);
      } catch (error) {
        const about = { upstream: upstream.name, leaseId, fence: lease.fence };
        log("error", "permit not released: held until its lease ends", { ...about, ...errorFields(error) });
      } finally {
        ticket[Symbol.dispose]();
      }
    },
  };
}

/** Acquires and waits; after a restart of the object it does so again, under the same id and in the same place. */
async function untilGranted(
  env: Env,
  upstream: Upstream,
  request: PermitRequest,
): Promise<{ lease: Lease; ticket: Disposable }> {
  let arrivedAtMs: number | undefined;
  const tryOnce = async () => {
    const semaphore = semaphoreOf(env, upstream);
    const acquired = await semaphore.acquire(
      arrivedAtMs === undefined ? request : { ...request, arrivedAtMs },
    );
    if (acquired.is === "refused") throw busy("queue-full", upstream, acquired.retryAfterMs);
    if (acquired.is === "granted") return acquired;
    arrivedAtMs = acquired.arrivedAtMs;
    const waited = await semaphore.wait(request.leaseId);
    if (waited.is === "gaveUp") throw busy("wait-limit", upstream, upstream.maxWaitMs);
    if (waited.is === "gone") throw new Error("The semaphore restarted before the wait began.");
    return { lease: waited.lease, ticket: acquired.ticket };
  };
  return retry(tryOnce, RESTART_PAUSES_MS, (error) => error instanceof Problem);
}

function busy(kind: "queue-full" | "wait-limit", upstream: Upstream, retryAfterMs: number): Problem {
  const detail = {
    "queue-full": `${upstream.maxWaiters} calls wait for "${upstream.name}" already.`,
    "wait-limit": `No permit for "${upstream.name}" came free in ${upstream.maxWaitMs} ms.`,
  }[kind];
  return new Problem(kind, detail, { headers: { "Retry-After": String(Math.ceil(retryAfterMs / 1000)) } });
}

function semaphoreOf(env: Env, upstream: Upstream) {
  return env.SEMAPHORE.getByName(upstream.name);
}
