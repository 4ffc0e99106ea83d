/**
 * The caller's side of the semaphore: acquires a permit, keeps it through restarts of the object, and releases it.
 */
import { countCallers } from "../../kernel/access.ts";
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { tooManyRequests } from "../../kernel/rate-limit.ts";
import type { Feedback, Lease, PermitRequest, Refusal } from "../semaphore/permit-types.ts";
import type { WaitResult } from "../semaphore/semaphore.ts";
import type { Upstream } from "../upstreams.ts";
import { startHeadReport } from "./head-report.ts";
import { callSemaphore, semaphoreOf, semaphoreUnavailable } from "./semaphores.ts";

/** A permit ends this long after its holder's last sign of life. */
const LEASE_MS = 15_000;
const RENEW_MS = LEASE_MS / 5;
/** If the lease could not be renewed, the call is aborted this long before it ends. */
const MARGIN_MS = 2_000;
/** A grant that arrives within this time leaves room for two renewals. */
const MAX_GRANT_AGE_MS = LEASE_MS - MARGIN_MS - 2 * RENEW_MS;

/** The right to call an upstream now. Release it, once, when the call is over. */
export interface Permit {
  /** The fencing token: grows with every permit of the upstream. */
  fence: number;
  /** Aborts when the lease is about to end because it could not be renewed. The call must end before that. */
  signal: AbortSignal;
  /** Say what the head of the response says. `endsSoon`: the release, with the same feedback, follows at once. */
  onHead(feedback: Feedback, endsSoon: boolean): void;
  /** Releases the permit and reports how the call went. Resolves to true if the call failed and may be retried. */
  release(feedback: Feedback): Promise<boolean>;
}

export interface AcquireOptions extends Pick<PermitRequest, "holder" | "priority" | "isRetry"> {
  /** Under which the call shares the queue with others. */
  name: string;
  signal: AbortSignal;
}

/**
 * Acquires a permit, waits for it in the queue if necessary, and keeps it renewed. Throws a 503 `Problem` if the
 * semaphore refuses. If the caller dies, the runtime disposes its ticket, and its permit or place is free at once.
 */
export async function acquirePermit(env: Env, upstream: Upstream, options: AcquireOptions): Promise<Permit> {
  const { signal, name, ...rest } = options;
  const leaseId = crypto.randomUUID();
  const share = { of: name, maxWaiting: maxWaitingOf(env, upstream) };
  const request: PermitRequest = { ...rest, share, leaseId, leaseMs: LEASE_MS };
  const granted = await untilGranted(env, upstream, request, signal);
  const renewal = keepRenewed(env, upstream, request, granted);
  const { fence, isProbe } = granted.lease;
  const fields = { upstream: upstream.name, leaseId, fence };
  const head = startHeadReport(isProbe, (feedback) => {
    semaphoreOf(env, upstream)
      .reportHead(leaseId, feedback)
      .catch((error: unknown) => log("warn", "head not reported", { ...fields, ...errorFields(error) }));
  });
  return {
    fence,
    signal: renewal.signal,
    onHead: (feedback, endsSoon) => head.onHead(feedback, endsSoon),
    release: async (feedback) => {
      head.stop();
      const ticket = renewal.stop();
      try {
        return await callObject(async () => semaphoreOf(env, upstream).release(leaseId, feedback));
      } catch (error) {
        log("error", "permit not released: held until its lease ends", { ...fields, ...errorFields(error) });
        return false;
      } finally {
        ticket[Symbol.dispose]();
      }
    },
  };
}

interface Granted {
  lease: Lease;
  ticket: Disposable;
  /** The lease began after this. */
  requestedAtMs: number;
}

/**
 * Acquires and waits. After each restart of the object it acquires again, under the same id and with its first
 * arrival time. If this process was frozen meanwhile, a grant may be old when it arrives, and the permit may be
 * another caller's by then. So unless the grant is certain to be recent, it acquires again, which renews a lease that
 * is still held.
 */
async function untilGranted(
  env: Env,
  upstream: Upstream,
  request: PermitRequest,
  signal: AbortSignal,
): Promise<Granted> {
  let arrivedAtMs: number | undefined;
  for (;;) {
    const { semaphore, acquired, requestedAtMs } = await acquire(
      env,
      upstream,
      { ...request, ...(arrivedAtMs && { arrivedAtMs }) },
      signal,
    );
    if (acquired.is === "refused") throw refused(env, upstream, acquired);
    arrivedAtMs ??= acquired.is === "granted" ? acquired.lease.grantedAtMs : acquired.arrivedAtMs;
    const { ticket } = acquired;
    const wait = async () => semaphore.wait(request.leaseId).catch((): WaitResult => ({ is: "gone" }));
    const result = acquired.is === "granted" ? acquired : await untilAborted(wait, signal, ticket);
    if (result.is === "refused") throw refused(env, upstream, result);
    if (result.is === "gone") await scheduler.wait(20 * (0.5 + Math.random()));
    else if (Date.now() - requestedAtMs < MAX_GRANT_AGE_MS)
      return { lease: result.lease, ticket, requestedAtMs };
  }
}

/** Calls `acquire`, again if the object restarts just then, on a fresh stub each time. */
async function acquire(env: Env, upstream: Upstream, request: PermitRequest, signal: AbortSignal) {
  let isOver = false;
  const acquireOnce = async () => {
    if (signal.aborted) throw clientGone();
    const semaphore = semaphoreOf(env, upstream);
    const requestedAtMs = Date.now();
    const acquired = await semaphore.acquire(request);
    // After the deadline, nobody uses it.
    if (isOver && acquired.is !== "refused") acquired.ticket[Symbol.dispose]();
    return { semaphore, requestedAtMs, acquired };
  };
  try {
    return await callSemaphore(upstream, acquireOnce);
  } finally {
    isOver = true;
  }
}

/** Resolves as `wait` does. If the caller goes away first, leaves the queue and throws. */
async function untilAborted<T>(wait: () => Promise<T>, signal: AbortSignal, ticket: Disposable): Promise<T> {
  if (signal.aborted) {
    ticket[Symbol.dispose]();
    throw clientGone();
  }
  const gone = Promise.withResolvers<never>();
  const leave = () => {
    ticket[Symbol.dispose]();
    gone.reject(clientGone());
  };
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([wait(), gone.promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

const leaseLost = ({ name }: Upstream) =>
  semaphoreUnavailable(`The permit for "${name}" could not be renewed: its semaphore does not respond.`);

export const clientGone = () => new Problem("client-gone", "The client went away while it was queued.");

/**
 * Renews a lease until stopped. Each renewal brings a new ticket, which is valid after a restart of the object too.
 */
function keepRenewed(env: Env, upstream: Upstream, request: PermitRequest, granted: Granted) {
  const abort = new AbortController();
  const fields = { upstream: upstream.name, leaseId: request.leaseId };
  let { ticket } = granted;
  let endsAtMs = granted.requestedAtMs + LEASE_MS;
  let isStopped = false;
  const renew = async () => {
    const requestedAtMs = Date.now();
    const renewed = await semaphoreOf(env, upstream).acquire(request);
    const isSame = renewed.is === "granted" && renewed.lease.fence === granted.lease.fence;
    if (isSame && !isStopped) {
      ticket[Symbol.dispose](); // of no effect on the lease, which has a newer ticket
      ticket = renewed.ticket;
      endsAtMs = requestedAtMs + LEASE_MS;
      return;
    }
    // The lease was released or expired meanwhile. Nobody wants what was acquired instead.
    if (renewed.is !== "refused") renewed.ticket[Symbol.dispose]();
    if (!isStopped) abort.abort(leaseLost(upstream));
  };
  const timer = setInterval(() => {
    if (Date.now() + RENEW_MS > endsAtMs - MARGIN_MS) abort.abort(leaseLost(upstream));
    else
      renew().catch((error: unknown) =>
        log("warn", "lease not renewed", { ...fields, ...errorFields(error) }),
      );
  }, RENEW_MS);
  const stop = () => {
    isStopped = true;
    clearInterval(timer);
    return ticket;
  };
  return { signal: abort.signal, stop };
}

/** Half of the queue is for others, if there are any. */
function maxWaitingOf(env: Env, { maxWaiters }: Upstream): number {
  return countCallers(env) > 1 ? Math.ceil(maxWaiters / 2) : maxWaiters;
}

function refused(env: Env, upstream: Upstream, { reason, retryAfterMs, byOperator }: Refusal): Problem {
  if (reason === "too-many-requests") {
    const share = { policy: "queue", quota: maxWaitingOf(env, upstream) };
    const detail = `${share.quota} of your calls already wait for "${upstream.name}". The rest of its queue is for others.`;
    return tooManyRequests(share, detail, retryAfterMs);
  }
  const detail = {
    "queue-full": `${upstream.maxWaiters} calls already wait for "${upstream.name}".`,
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
