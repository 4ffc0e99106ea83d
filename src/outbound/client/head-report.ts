/**
 * Tells the semaphore what the head of a response says, before the call is over: the body may take minutes. That
 * costs a call to its object, so it is done only where somebody waits for it: for the probe of a breaker, and for a
 * pause that the upstream asks for.
 */
import type { Feedback } from "../semaphore/permit-types.ts";

/** A probe that has no head by then decides nothing: it may be waiting for its own client. Another may go. */
const UNDECIDED_MS = 5_000;

export interface HeadReport {
  /** The head has come. `endsSoon` says that the release, with the same feedback, follows at once. */
  onHead(feedback: Feedback, endsSoon: boolean): void;
  /** The call is over. */
  stop(): void;
}

export function startHeadReport(isProbe: boolean, report: (feedback: Feedback) => void): HeadReport {
  const timer = isProbe ? setTimeout(() => report({ outcome: "unknown" }), UNDECIDED_MS) : undefined;
  return {
    onHead: (feedback, endsSoon) => {
      clearTimeout(timer);
      const asksForPause = feedback.retryAfterMs !== undefined && feedback.retryAfterMs > 0;
      if (isProbe || (asksForPause && !endsSoon)) report(feedback);
    },
    stop: () => clearTimeout(timer),
  };
}
