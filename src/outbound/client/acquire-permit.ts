/**
 * The caller's side of the semaphore: acquires a permit, through restarts of the object.
 */
import { countCallers } from "../../kernel/access.ts";
import { errorFields, log } from "../../kernel/log.ts";
import { callObject, isOverloaded, lacksMethod, ObjectTimeoutError } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { tooManyRequests } from "../../kernel/rate-limit.ts";
import type { PermitRequest, Refusal } from "../semaphore/permit-types.ts";
import type { WaitResult } from "../semaphore/ticket.ts";
import type { Upstream } from "../upstreams.ts";
import { LEASE_MS, MARGIN_MS, RENEW_MS, SharedLease } from "./hand-over.ts";
import { HeldPermit, type Holding, type Permit, type Ticket } from "./held-permit.ts";
import { isolateOf, type Line } from "./isolate.ts";
import { Place } from "./place.ts";
import { callSemaphore, noResponse, semaphoreOf } from "./semaphores.ts";

/** A grant that arrives within this time leaves room for two renewals. */
const MAX_GRANT_AGE_MS = LEASE_MS - MARGIN_MS - 2 * RENEW_MS;

/** For how long after the longest wait the semaphore may take to say that it is over. */
const WAIT_MARGIN_MS = 5_000;

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
  const isolate = isolateOf(env);
  const request: PermitRequest = {
    ...rest,
    share: { of: name, maxWaiting: maxWaitingOf(env, upstream) },
    leaseId: crypto.randomUUID(),
    leaseMs: LEASE_MS,
    isolate: isolate.id,
  };
  const line = isolate.lineOf(upstream.name);
  return new HeldPermit({
    env,
    upstream,
    request,
    line,
    ...(await untilGranted(env, upstream, request, line, signal)),
  });
}

type Granted = Pick<Holding, "lease" | "number" | "ticket" | "isProbe">;

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
  line: Line,
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
    const wait = async () => waitInQueue(upstream, ticket, async () => semaphore.wait(request.leaseId));
    const place = new Place(request.priority, line);
    const result =
      acquired.is === "granted"
        ? acquired
        : await untilAborted(
            async () => place.wait(wait, acquired.turn),
            signal,
            () => leaveQueue(ticket, request.leaseId),
          ).finally(() => place.leave());
    if (result.is === "taken") {
      passOnLate(result.late, requestedAtMs, line, ticket);
      return { ...result, ticket, isProbe: false };
    }
    if (result.is === "refused") throw refused(env, upstream, result);
    if (result.is === "gone") await scheduler.wait(20 * (0.5 + Math.random()));
    else if (Date.now() - requestedAtMs < MAX_GRANT_AGE_MS) {
      const lease = new SharedLease(result.lease, requestedAtMs + LEASE_MS);
      return { lease, number: 0, ticket, isProbe: result.lease.isProbe };
    }
  }
}

/**
 * The semaphore may grant a permit to a caller that has taken over another just then. Whoever is next in the isolate gets
 * it, or the semaphore has it back.
 */
function passOnLate(late: Promise<WaitResult>, requestedAtMs: number, line: Line, ticket: Ticket): void {
  const passOn = async () => {
    const result = await late;
    if (result.is !== "granted") return;
    const { lease } = result;
    const isTaken = !lease.isProbe && (await line.handOn(new SharedLease(lease, requestedAtMs + LEASE_MS)));
    if (!isTaken) await ticket.release({ outcome: "unknown" }, lease.id);
  };
  // If it fails, the permit comes back when the ticket is disposed.
  passOn().catch(() => {});
}

/**
 * Waits for a permit; "gone" if the object restarts meanwhile. If it is overloaded, or if the longest wait is over and it
 * has not said so, leaves the queue and throws: it must not be called again.
 */
async function waitInQueue(
  upstream: Upstream,
  ticket: Ticket,
  waitById: () => Promise<WaitResult>,
): Promise<WaitResult> {
  const deadlineMs = upstream.maxWaitMs + WAIT_MARGIN_MS;
  const wait = async () =>
    ticket.wait().catch(async (error: unknown) => {
      // Of an object of an older version.
      if (lacksMethod(error)) return waitById();
      throw error;
    });
  try {
    return await callObject(wait, { mayRepeat: false, deadlineMs });
  } catch (error) {
    if (!isOverloaded(error) && !(error instanceof ObjectTimeoutError)) return { is: "gone" };
    ticket[Symbol.dispose]();
    log("error", "semaphore unavailable", { upstream: upstream.name, ...errorFields(error) });
    throw noResponse(upstream);
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
async function untilAborted<T>(wait: () => Promise<T>, signal: AbortSignal, onAbort: () => void): Promise<T> {
  if (signal.aborted) {
    onAbort();
    throw clientGone();
  }
  const gone = Promise.withResolvers<never>();
  const leave = () => {
    onAbort();
    gone.reject(clientGone());
  };
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([wait(), gone.promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

/** A ticket is not disposed as long as one of its calls is under way, and a wait is. So the wait must end. */
function leaveQueue(ticket: Ticket, leaseId: string): void {
  ticket.release({ outcome: "unknown" }, leaseId).catch(() => {}); // of an older version, or gone: then no wait of it is
  ticket[Symbol.dispose]();
}

export const clientGone = () => new Problem("client-gone", "The client went away while it was queued.");

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
