/**
 * The progress of a run, on its way to the ledger.
 *
 * Progress is only information. So reporting it never fails: a ratio is clamped, a message is shown as text and cut, and
 * what cannot be sent is logged.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { showValue } from "../../kernel/safe-text.ts";
import { ledgerOf } from "../ledger/shards.ts";
import type { Run } from "./run.ts";

const MAX_MESSAGE_LENGTH = 500;
const PROGRESS_INTERVAL_MS = 1_000;
/** Short, since the end of a run waits for it. */
const SEND_DEADLINE_MS = 2_000;

/** `logFields` go into a log line when progress cannot be sent. */
export function createProgress({ env, claim }: Run, logFields: Record<string, unknown>) {
  let unsent: { ratio: number; message: string | null } | undefined;
  let scheduled: Promise<void> | undefined;
  let underWay: Promise<void> | undefined;
  let lastSentAtMs = 0;
  let lastRatio = 0;

  const send = async () => {
    const latest = unsent;
    unsent = undefined;
    lastSentAtMs = Date.now();
    if (!latest) return;
    try {
      const { ratio, message } = latest;
      await callObject(async () => ledgerOf(env, claim.taskId)?.progress(claim, ratio, message), {
        mayRepeat: false,
        deadlineMs: SEND_DEADLINE_MS,
      });
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
    /** Code that is not checked by types may pass anything. A ratio that is not a number leaves the last one. */
    report: (ratio: unknown, message: unknown): void => {
      if (typeof ratio === "number" && !Number.isNaN(ratio)) lastRatio = Math.min(1, Math.max(0, ratio));
      unsent = { ratio: lastRatio, message: toMessage(message) };
      scheduled ??= sendLater();
    },
    /** Waits for the call under way, so that the latest value is also the last to arrive. */
    flush: async () => {
      await underWay;
      await send();
    },
  };
}

/** A NUL is shown by its symbol: the ledger would not keep it. */
const toMessage = (message: unknown) =>
  message === undefined || message === null
    ? null
    : showValue(message, MAX_MESSAGE_LENGTH).replaceAll("\0", "\u2400");
