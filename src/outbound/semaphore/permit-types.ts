/** What passes between the semaphore, its rules and its callers: requests, decisions, leases and feedback. */
import type { BreakerState } from "./breaker.ts";
import type { ThrottleState } from "./throttle.ts";
import type { Priority, QueueShare, Waiter } from "./wait-queue.ts";

/** A permit that was granted, and until when. */
export interface Lease {
  id: string;
  /** The fencing token: grows with every grant of this upstream. */
  fence: number;
  /** Who holds it, for people to read. */
  holder: string;
  /** True for the call that finds out whether a failed upstream works again. Its holder reports the response's head. */
  isProbe: boolean;
  grantedAtMs: number;
  endsAtMs: number;
  /** How often it has been handed on since it was granted. */
  handOvers: number;
  /** Where its holder runs. Unknown after a restart, until it is renewed, and of an older caller. */
  isolate?: string;
  /** Under which limit key it was granted. */
  key?: string;
  /** How many permits it takes. Default: 1. */
  weight?: number;
}

/**
 * A permit was handed on: its holder's call has ended well, and a waiter of the same isolate has begun its own under the
 * same lease.
 */
export interface HandOver {
  leaseId: string;
  /** The how-manieth it is since the permit was granted, from 1. The lease belongs to the latest. */
  number: number;
  /** The calls under the lease that have ended, as far as nobody knows that the semaphore has heard of them. */
  ended: EndedCall[];
}

interface EndedCall {
  /** After how many hand-overs it had the permit. */
  after: number;
  feedback: Feedback;
}

/** What must survive a restart besides the leases. A member is replaced, never changed in place. */
export interface PermitsState {
  throttle: ThrottleState;
  breaker: BreakerState;
  /** When the next call is due at the rate. */
  dueAtMs: number;
  /** What is left of the retry budget, in calls. Absent if nothing was spent. */
  retryBudget?: number;
  /** When the next call of any limit key is due at its rate, at the latest. Absent if keys have no rate. */
  keysDueAtMs?: number;
}

export interface PermitRequest {
  leaseId: string;
  holder: string;
  priority: Priority;
  /** How many calls under the caller's name may wait. Default: any number. */
  share?: QueueShare;
  /** How long the permit may be held unless it is renewed. */
  leaseMs: number;
  /** When the caller first requested it, if it does so again after a restart. */
  arrivedAtMs?: number;
  /** Where the caller runs, so that a permit may be handed on to it. Absent from a caller that cannot take one. */
  isolate?: string;
  /** Its limit key. One with a key, or of another weight than 1, says no isolate. */
  key?: string;
  /** How many permits it needs. Default: 1. */
  weight?: number;
  /** With a renewal: after how many hand-overs the caller has the permit. */
  handOvers?: number;
  /** The caller has taken over the permit of `leaseId`, while it waited under the id `waitedAs`. */
  handOver?: HandOver & { waitedAs: string };
  /** True for a retry. A retry does not earn retry budget: it was paid for when the failed call was released. */
  isRetry: boolean;
}

/** Why a permit was refused. */
export type RefusalReason =
  | "queue-full"
  | "too-many-requests"
  | "wait-limit"
  | "paused"
  | "breaker-open"
  | "too-heavy";

export type Decision =
  | { is: "granted"; lease: Lease; isNew: boolean }
  | { is: "queued"; arrivedAtMs: number }
  | ({ is: "refused" } & Refusal);

/** Why a permit was refused, and when to try again. */
export interface Refusal {
  reason: RefusalReason;
  retryAfterMs: number;
  /** True if an operator has paused the upstream: nobody knows for how long, and `retryAfterMs` is a guess. */
  byOperator: boolean;
  /** Too many calls wait under its limit key: as many as this. */
  underKey?: number;
  /** A call is too heavy: it may weigh as much as this. */
  maxWeight?: number;
}

/** How a call went. The holder reports it with the release. */
export interface Feedback {
  /**
   * `overloaded`: 429, or 503 with Retry-After. `failed`: the upstream sent no response, broke one off, or sent any
   * other 5xx that is not about the request (501, 505, 508, 510). `unknown`: whatever happened was not the upstream's doing.
   */
  outcome: "ok" | "overloaded" | "failed" | "unknown";
  /** What the upstream asked for with Retry-After. */
  retryAfterMs?: number;
  /** The holder would retry the call if the retry budget allows it. */
  wantsRetry?: boolean;
}

/** What has changed because time passed or a lease ended. */
export interface Changes {
  granted: Lease[];
  expired: Lease[];
  /** Their holders have gone, and have handed them on to nobody. */
  lost: Lease[];
  /** Waiters that have become successors, or are none any longer. */
  told: Waiter[];
  refused: ({ waiter: Waiter } & Refusal)[];
}

/** What keeps every caller from a permit right now. */
export interface Block {
  by: "restarted" | "paused" | "breaker-open" | "probe" | "concurrency" | "rate";
  /** When the block ends by itself; Infinity if it takes a release or an operator. */
  untilMs: number;
}

/** What a restarted object begins with. */
export interface RestoredState {
  atMs: number;
  held: Lease[];
  lastFence: number;
  state: PermitsState | undefined;
}

/** A caller that has taken over a permit, and the id under which it waited. */
export interface Taker extends Pick<PermitRequest, "holder" | "isolate" | "leaseMs"> {
  waitedAs: string;
}
