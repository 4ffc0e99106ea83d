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
 * Gets a permit, waiting in line for it if need be; leaves the line when `signal` aborts. Throws a 503 `Problem` when
 * the line is full, the wait limit is reached or the semaphore cannot be. If the caller dies, the runtime disposes its
 * ticket, and its permit or place is free at once.
 */
export async function acquirePermit(env: Env, upstream: Upstream, signal: AbortSignal): Promise<Permit> {
  const leaseId = crypto.randomUUID();
  const request = { leaseId, leaseMs: upstream.timeoutMs + LEASE_MARGIN_MS };
  const { lease, ticket } = await untilGranted(env, upstream, request, signal);
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

interface Granted {
  lease: Lease;
  ticket: Disposable;
}

/** Acquires and waits; after a restart of the object it does so again, under the same id and in the same place. */
async function untilGranted(
  env: Env,
  upstream: Upstream,
  request: PermitRequest,
  signal: AbortSignal,
): Promise<Granted> {
  let arrivedAtMs: number | undefined;
  const tryOnce = async (): Promise<Granted> => {
    signal.throwIfAborted();
    const semaphore = semaphoreOf(env, upstream);
    const acquired = await semaphore.acquire(
      arrivedAtMs === undefined ? request : { ...request, arrivedAtMs },
    );
    if (acquired.is === "refused") throw busy(acquired.why, upstream);
    if (acquired.is === "granted") return acquired;
    arrivedAtMs = acquired.arrivedAtMs;
    const waited = await untilAborted(async () => semaphore.wait(request.leaseId), signal, acquired.ticket);
    if (waited.is === "gaveUp") throw busy("wait-limit", upstream);
    if (waited.is === "gone") throw new Error("The semaphore restarted before the wait began.");
    return { lease: waited.lease, ticket: acquired.ticket };
  };
  try {
    return await retry(tryOnce, RESTART_PAUSES_MS, (error) => error instanceof Problem || signal.aborted);
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
    log("error", "semaphore unavailable", { upstream: upstream.name, ...errorFields(error) });
    throw new Problem("semaphore-unavailable", `The semaphore of "${upstream.name}" does not answer.`, {
      headers: { "Retry-After": "5" },
    });
  }
}

/** What `wait` gives; or throws once the caller is gone, having left the line. */
async function untilAborted<T>(wait: () => Promise<T>, signal: AbortSignal, ticket: Disposable): Promise<T> {
  const gone = Promise.withResolvers<never>();
  const leave = () => {
    ticket[Symbol.dispose]();
    gone.reject(signal.reason);
  };
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([wait(), gone.promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

function busy(why: "queue-full" | "wait-limit", upstream: Upstream): Problem {
  const detail = {
    "queue-full": `${upstream.maxWaiters} calls wait for "${upstream.name}" already.`,
    "wait-limit": `No permit for "${upstream.name}" came free in ${upstream.maxWaitMs} ms.`,
  }[why];
  const retryAfter = String(Math.max(1, Math.ceil(upstream.maxWaitMs / 1000)));
  return new Problem(why, detail, { headers: { "Retry-After": retryAfter } });
}

function semaphoreOf(env: Env, upstream: Upstream) {
  return env.SEMAPHORE.getByName(upstream.name);
}
