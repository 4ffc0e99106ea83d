/**
 * The caller's side of the semaphore: acquires a permit, through restarts of the object.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject, isOverloaded, lacksMethod, ObjectTimeoutError } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import type { PermitRequest, Refusal } from "../semaphore/permit-types.ts";
import type { WaitResult } from "../semaphore/ticket.ts";
import { isPlain } from "../semaphore/wait-queue.ts";
import { semaphoreOf } from "../shards.ts";
import type { Upstream } from "../upstreams.ts";
import { atBetterOfTwo } from "./better-of-two.ts";
import { LEASE_MS, MARGIN_MS, RENEW_MS, SharedLease } from "./hand-over.ts";
import { HeldPermit, type Holding, type Permit, type Ticket } from "./held-permit.ts";
import { isolateOf, type Line } from "./isolate.ts";
import { Place } from "./place.ts";
import { maxWaitingOf, refused } from "./refused.ts";
import { callSemaphore, noResponse } from "./semaphores.ts";
import { shardOfKey } from "./shard-of-key.ts";

/** A grant that arrives within this time leaves room for two renewals. */
const MAX_GRANT_AGE_MS = LEASE_MS - MARGIN_MS - 2 * RENEW_MS;

/** For how long after the longest wait the semaphore may take to say that it is over. */
const WAIT_MARGIN_MS = 5_000;

export interface AcquireOptions
  extends Pick<PermitRequest, "holder" | "priority" | "isRetry" | "key" | "weight"> {
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
  const local = isolate.localOf(upstream);
  let arrivedAtMs: number | undefined;
  const pinned = shardOfKey(upstream, rest.key);
  const acquireAt = async (shard: number) => {
    const request: PermitRequest = {
      ...rest,
      share: { of: name, maxWaiting: maxWaitingOf(env, upstream) },
      leaseId: crypto.randomUUID(),
      leaseMs: LEASE_MS,
      ...(isPlain(rest) && { isolate: isolate.id }),
    };
    const at: At = { env, upstream, local, shard, onArrival: (ms) => (arrivedAtMs = ms) };
    local.loads.begin(shard);
    try {
      const granted = await untilGranted(at, request, arrivedAtMs, signal);
      return new HeldPermit({ env, upstream, shard, request, local, ...granted });
    } catch (error) {
      local.loads.end(shard);
      throw error;
    }
  };
  return pinned === undefined ? atBetterOfTwo(local.loads, acquireAt) : acquireAt(pinned);
}

/** Where a permit is asked for. */
interface At extends Pick<Holding, "env" | "upstream" | "shard" | "local"> {
  /** When the call has come there: that counts wherever it goes then. */
  onArrival(arrivedAtMs: number): void;
}

type Granted = Pick<Holding, "lease" | "number" | "ticket" | "isProbe">;

/**
 * Acquires and waits. After each restart of the object it acquires again, under the same id and with its first
 * arrival time. If this process was frozen meanwhile, a grant may be old when it arrives, and the permit may be
 * another caller's by then. So unless the grant is certain to be recent, it acquires again, which renews a lease that
 * is still held.
 */
async function untilGranted(
  at: At,
  request: PermitRequest,
  arrivedBeforeMs: number | undefined,
  signal: AbortSignal,
): Promise<Granted> {
  const { upstream, local, shard } = at;
  const line = local.lineAt(shard);
  let arrivedAtMs = arrivedBeforeMs;
  for (;;) {
    const { semaphore, acquired, requestedAtMs } = await acquire(
      at,
      { ...request, ...(arrivedAtMs && { arrivedAtMs }) },
      signal,
    );
    if (acquired.is === "refused") throw refusedAt(at, acquired);
    arrivedAtMs ??= acquired.is === "granted" ? acquired.lease.grantedAtMs : acquired.arrivedAtMs;
    at.onArrival(arrivedAtMs);
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
    if (result.is === "refused") throw refusedAt(at, result);
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
async function acquire(
  { env, upstream, shard, local: { loads } }: At,
  request: PermitRequest,
  signal: AbortSignal,
) {
  let isOver = false;
  const acquireOnce = async () => {
    if (signal.aborted) throw clientGone();
    const semaphore = semaphoreOf(env, upstream, shard);
    const requestedAtMs = Date.now();
    const sent = loads.send(shard);
    const acquired = await semaphore.acquire(request);
    if (acquired.load) loads.hear(shard, sent, acquired.load, Date.now());
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

/** A shard whose breaker is open is passed over until it may close, as long as another's is closed. */
function refusedAt({ env, upstream, shard, local }: At, refusal: Refusal): Problem {
  if (refusal.reason === "breaker-open") local.loads.avoid(shard, Date.now() + refusal.retryAfterMs);
  return refused(env, upstream, refusal);
}
