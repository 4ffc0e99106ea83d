/** The words of the semaphore: what is asked of its rules, what they answer, and what they are told. */
import type { BreakerState } from "./breaker.ts";
import type { Pace } from "./pacer.ts";
import type { Priority, Waiter } from "./wait-queue.ts";

export interface Lease {
  id: string;
  /** Grows with every grant of this upstream. */
  fence: number;
  /** Whom it was granted to, for people to read. */
  holder: string;
  grantedAtMs: number;
  endsAtMs: number;
}

/** What must outlive a restart beside the leases. Its parts are new objects whenever something in them has changed. */
export interface Memory {
  pace: Pace;
  breaker: BreakerState;
  /** When the next call is due at the rate. */
  dueAtMs: number;
}

export interface PermitRequest {
  leaseId: string;
  holder: string;
  priority: Priority;
  /** How long the permit may be held unless it is renewed. */
  leaseMs: number;
  /** When the caller first asked, if it asks again after a restart. */
  arrivedAtMs?: number;
  /** It repeats a call that failed; those were paid for when that was allowed. */
  isRetry: boolean;
}

export type Refusal = "queue-full" | "wait-limit" | "paused" | "breaker-open";

export type Answer =
  | { is: "granted"; lease: Lease; isNew: boolean }
  | { is: "queued"; arrivedAtMs: number }
  | { is: "refused"; why: Refusal; retryAfterMs: number };

/** How a call went, as its holder says with the release. */
export interface Feedback {
  /** `overloaded`: 429, or 503 with Retry-After. `failed`: no answer, or 500, 502, 504. `unknown`: the caller went away. */
  outcome: "ok" | "overloaded" | "failed" | "unknown";
  /** What the upstream asked for with Retry-After. */
  retryAfterMs?: number;
  /** The holder would repeat the call, if the retry budget allows it. */
  wantsRetry?: boolean;
}

/** What time, or the end of a lease, has brought about. */
export interface Changes {
  granted: Lease[];
  expired: Lease[];
  refused: { waiter: Waiter; why: Refusal; retryAfterMs: number }[];
}

/** What keeps everybody from a permit now, and when that ends by itself; never, if it takes a release. */
export interface Obstacle {
  is: "restarted" | "paused" | "breaker-open" | "probe" | "concurrency" | "rate";
  untilMs: number;
}
