/** Sends a task's progress: at most once a second, always the latest value, and whatever is left at the end. */
import { errorFields, log } from "../../kernel/log.ts";
import { ledgerOf } from "../ledger/shards.ts";
import type { Run } from "./run.ts";

const MAX_MESSAGE_LENGTH = 500;
const PROGRESS_INTERVAL_MS = 1_000;

/** `logFields` go into a log line when progress cannot be sent. */
export function createProgress({ env, claim, interrupt }: Run, logFields: Record<string, unknown>) {
  let unsent: { ratio: number; message: string | null } | undefined;
  let scheduled: Promise<void> | undefined;
  let underWay: Promise<void> | undefined;
  let lastSentAtMs = 0;

  const send = async () => {
    const latest = unsent;
    unsent = undefined;
    lastSentAtMs = Date.now();
    if (!latest) return;
    try {
      await ledgerOf(env, claim.taskId)?.progress(claim, latest.ratio, latest.message);
    } catch (error) {
      log("warn", "progress could not be sent", { ...logFields, ...errorFields(error) });
    }
  };

  const sendLater = async () => {
    await scheduler.wait(Math.max(0, lastSentAtMs + PROGRESS_INTERVAL_MS - Date.now()));
    await (underWay = send());
    scheduled = undefined;
    if (unsent) scheduled = sendLater();
  };

  return {
    report: (ratio: number, message?: string): void => {
      interrupt.signal.throwIfAborted();
      if (!(ratio >= 0 && ratio <= 1)) throw new RangeError("Progress must be from 0 to 1.");
      unsent = { ratio, message: message?.slice(0, MAX_MESSAGE_LENGTH) ?? null };
      scheduled ??= sendLater();
    },
    /** Waits for the call under way, so that the latest value is also the last to arrive. */
    flush: async () => {
      await underWay;
      await send();
    },
  };
}
