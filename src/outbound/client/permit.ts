/**
 * The caller's side of the semaphore: gets a permit, keeps it through restarts of the object, gives it back.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import type { Feedback, Lease, PermitRequest, Refusal } from "../semaphore/protocol.ts";
import type { Waited } from "../semaphore/semaphore.ts";
import type { Upstream } from "../upstreams.ts";

/** How long a permit outlives its last sign of life. */
const LEASE_MS = 15_000;
const RENEW_MS = LEASE_MS / 5;
/** A call that could not renew its lease is aborted this long before the lease ends. */
const MARGIN_MS = 2_000;
/** A grant that is heard of within this time leaves room for two renewals. */
const YOUNG_MS = LEASE_MS - MARGIN_MS - 2 * RENEW_MS;

/** The right to call an upstream now. It must be released, once, when the call is over. */
export interface Permit {
  /** Grows with every permit of the upstream. */
  fence: number;
  /** How long it took to get. */
  queuedMs: number;
  /** Aborted when the lease is about to end because it could not be renewed: the call must end first. */
  signal: AbortSignal;
  /** Gives it back and says how the call went. True if the call failed and may be made once more. */
  release(feedback: Feedback): Promise<boolean>;
}

export type Applicant = Pick<PermitRequest, "holder" | "priority" | "isRetry"> & { signal: AbortSignal };

/**
 * Gets a permit, waiting in line for it if need be, and keeps it renewed. Throws a 503 `Problem` when the semaphore
 * refuses. If the caller dies, the runtime disposes its ticket, and its permit or place is free at once.
 */
export async function acquirePermit(env: Env, upstream: Upstream, applicant: Applicant): Promise<Permit> {
  const askedAtMs = Date.now();
  const { signal, ...about } = applicant;
  const leaseId = crypto.randomUUID();
  const request: PermitRequest = { ...about, leaseId, leaseMs: LEASE_MS };
  const granted = await untilGranted(env, upstream, request, signal);
  const renewal = keepRenewed(env, upstream, request, granted);
  const fence = granted.lease.fence;
  return {
    fence,
    queuedMs: Date.now() - askedAtMs,
    signal: renewal.signal,
    release: async (feedback) => {
      const ticket = renewal.stop();
      try {
        return await retry(() => semaphoreOf(env, upstream).release(leaseId, feedback), RESTART_PAUSES_MS);
      } catch (error) {
        const where = { upstream: upstream.name, leaseId, fence };
        log("error", "permit not released: held until its lease ends", { ...where, ...errorFields(error) });
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
  askedAtMs: number;
}

/**
 * Acquires and waits; after a restart of the object, however many there are, it asks again, under the same id and with
 * its first arrival. A grant may be old when it is heard of, if this process was frozen meanwhile, and the permit
 * somebody else's by then: unless it is certain to be young, it is asked for again, which renews it if it still holds.
 */
async function untilGranted(
  env: Env,
  upstream: Upstream,
  request: PermitRequest,
  signal: AbortSignal,
): Promise<Granted> {
  let arrivedAtMs: number | undefined;
  for (;;) {
    const { semaphore, acquired, askedAtMs } = await ask(
      env,
      upstream,
      { ...request, ...(arrivedAtMs && { arrivedAtMs }) },
      signal,
    );
    if (acquired.is === "refused") throw refused(upstream, acquired.why, acquired.retryAfterMs);
    arrivedAtMs ??= acquired.is === "granted" ? acquired.lease.grantedAtMs : acquired.arrivedAtMs;
    const { ticket } = acquired;
    const wait = async () => semaphore.wait(request.leaseId).catch((): Waited => ({ is: "gone" }));
    const waited = acquired.is === "granted" ? acquired : await untilAborted(wait, signal, ticket);
    if (waited.is === "refused") throw refused(upstream, waited.why, waited.retryAfterMs);
    if (waited.is === "gone") await scheduler.wait(20 * (0.5 + Math.random()));
    else if (Date.now() - askedAtMs < YOUNG_MS) return { lease: waited.lease, ticket, askedAtMs };
  }
}

/** Asks for a permit, more than once if the object restarts just then; each time on a fresh stub. */
async function ask(env: Env, upstream: Upstream, request: PermitRequest, signal: AbortSignal) {
  const once = async () => {
    if (signal.aborted) throw clientGone();
    const semaphore = semaphoreOf(env, upstream);
    const askedAtMs = Date.now();
    return { semaphore, askedAtMs, acquired: await semaphore.acquire(request) };
  };
  try {
    return await retry(once, RESTART_PAUSES_MS, (error) => error instanceof Problem);
  } catch (error) {
    if (error instanceof Problem) throw error;
    log("error", "semaphore unavailable", { upstream: upstream.name, ...errorFields(error) });
    throw unavailable(`The semaphore of "${upstream.name}" does not answer.`);
  }
}

/** What `wait` gives; or throws once the caller is gone, having left the line. */
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

const unavailable = (detail: string) =>
  new Problem("semaphore-unavailable", detail, { headers: { "Retry-After": "5" } });

const leaseLost = ({ name }: Upstream) =>
  unavailable(`The permit for "${name}" could not be kept: its semaphore does not answer.`);

const clientGone = () => new Problem("client-gone", "The client went away before it was its turn.");

/** Renews a lease until stopped. Each renewal brings a new ticket, good also after a restart of the object. */
function keepRenewed(env: Env, upstream: Upstream, request: PermitRequest, granted: Granted) {
  const abort = new AbortController();
  const about = { upstream: upstream.name, leaseId: request.leaseId };
  let { ticket } = granted;
  let endsAtMs = granted.askedAtMs + LEASE_MS;
  let isStopped = false;
  const renew = async () => {
    const askedAtMs = Date.now();
    const renewed = await semaphoreOf(env, upstream).acquire(request);
    const isSame = renewed.is === "granted" && renewed.lease.fence === granted.lease.fence;
    if (isSame && !isStopped) {
      ticket = renewed.ticket;
      endsAtMs = askedAtMs + LEASE_MS;
      return;
    }
    // Released meanwhile, or ended: whatever was got now is nobody's.
    if (renewed.is !== "refused") renewed.ticket[Symbol.dispose]();
    if (!isStopped) abort.abort(leaseLost(upstream));
  };
  const timer = setInterval(() => {
    if (Date.now() + RENEW_MS > endsAtMs - MARGIN_MS) abort.abort(leaseLost(upstream));
    else
      renew().catch((error: unknown) =>
        log("warn", "lease not renewed", { ...about, ...errorFields(error) }),
      );
  }, RENEW_MS);
  const stop = () => {
    isStopped = true;
    clearInterval(timer);
    return ticket;
  };
  return { signal: abort.signal, stop };
}

function refused(upstream: Upstream, why: Refusal, retryAfterMs: number): Problem {
  const detail = {
    "queue-full": `${upstream.maxWaiters} calls wait for "${upstream.name}" already.`,
    "wait-limit": `No permit for "${upstream.name}" came free in ${upstream.maxWaitMs} ms.`,
    paused: `"${upstream.name}" has asked for a pause, or an operator has paused it.`,
    "breaker-open": `"${upstream.name}" fails, so it is left alone for a while.`,
  }[why];
  return new Problem(why, detail, {
    headers: { "Retry-After": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
  });
}

export function semaphoreOf(env: Env, upstream: Upstream) {
  const { name, locationHint } = upstream;
  return env.SEMAPHORE.getByName(name, locationHint === undefined ? {} : { locationHint });
}
