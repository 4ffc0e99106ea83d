/** What the calls to an upstream say about it, and what follows: breaker, pause, adaptive limit and retry budget. */
import { Breaker } from "./breaker.ts";
import type { Feedback, PermitsState } from "./permit-types.ts";
import { RetryBudget } from "./retry-budget.ts";
import { Throttle } from "./throttle.ts";

/** The call that has ended, or whose head has come. */
interface ReportedCall {
  leaseId: string;
  grantedAtMs: number;
  /** How many calls were in flight, with this one. */
  inFlight: number;
}

export class Health {
  readonly breaker: Breaker;
  readonly throttle: Throttle;
  readonly budget: RetryBudget;

  /** `isHeld` says whether a lease from before a restart is still held. */
  constructor(concurrency: number, state: PermitsState | undefined, isHeld: (leaseId: string) => boolean) {
    this.breaker = new Breaker(state?.breaker, isHeld);
    this.throttle = new Throttle(concurrency, state?.throttle);
    this.budget = new RetryBudget(state?.retryBudget);
  }

  /** A call has ended. `jitter`, from 0 to 1, stretches the pause that its upstream asks for. */
  onEnd(
    { leaseId, grantedAtMs, inFlight }: ReportedCall,
    { outcome, retryAfterMs }: Feedback,
    isAdaptive: boolean,
    nowMs: number,
    jitter: number,
  ): void {
    this.budget.keep();
    this.#reportToBreaker(leaseId, outcome, nowMs);
    if (isAdaptive && outcome === "ok") this.throttle.increase(inFlight);
    if (isAdaptive && (outcome === "overloaded" || outcome === "failed"))
      this.throttle.decrease(grantedAtMs, nowMs);
    this.#pause(retryAfterMs, nowMs, jitter);
  }

  /** The head of a response has come. It decides for the probe, and for a pause. */
  onHead(leaseId: string, { outcome, retryAfterMs }: Feedback, nowMs: number, jitter: number): void {
    if (this.breaker.isProbe(leaseId)) this.#reportToBreaker(leaseId, outcome, nowMs);
    this.#pause(retryAfterMs, nowMs, jitter);
  }

  /** A lease has ended without a word from its holder. */
  onSilentEnd(leaseId: string, nowMs: number): void {
    this.#reportToBreaker(leaseId, "unknown", nowMs);
  }

  #pause(retryAfterMs: number | undefined, nowMs: number, jitter: number): void {
    if (retryAfterMs !== undefined && retryAfterMs > 0) this.throttle.pause(retryAfterMs, nowMs, jitter);
  }

  #reportToBreaker(leaseId: string, outcome: Feedback["outcome"], nowMs: number): void {
    const failed = outcome === "ok" || outcome === "failed" ? outcome === "failed" : undefined;
    if (this.breaker.onEnd(leaseId, failed, nowMs)) this.throttle.beginRamp(nowMs);
  }
}
