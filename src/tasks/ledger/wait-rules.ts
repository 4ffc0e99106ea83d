/**
 * Waits and signals, as rules without clock, storage or network.
 *
 * A task waits under a key of its own for each `waitFor`, so that a later run finds the same wait again. A signal goes to
 * the oldest wait for its name, or is kept until one begins. What a wait has received, or that its time is over, is its end,
 * and is recorded as a step: so it has exactly one, and each signal is received by one wait at most.
 *
 * A task whose run ends with nothing to do but to wait is parked: it is `scheduled` until the first time-out. Whatever it
 * waits for wakes it, if that run was its last.
 */
import { MAX_DURATION_MS } from "../types/duration.ts";
import type { TaskState } from "./task-state.ts";

/** How many signals a task keeps that nothing has waited for yet, and how many can be sent to it at all. */
export const MAX_KEPT_SIGNALS = 100;
export const MAX_SIGNALS = 1_000;
/** What they may have together, in bytes: each run receives them in one message, with the steps. */
export const MAX_SIGNAL_BYTES = 8 * 1024 * 1024;

/** How a wait has ended, as its step records it. */
export type WaitEnd = { signal: unknown } | { timedOut: true };

/** Begins with a space, as the steps that a task does not name itself. */
export const WAIT_PREFIX = " wait ";
/** The key of the `number`th wait of a run for a name. */
export const waitKey = (number: number, name: string): string => `${WAIT_PREFIX}${number} ${name}`;

/**
 * What becomes of a wait when a run comes to it. `untilMs`: when it ends without a signal, as it was first recorded or, if
 * it is new, as the run says. `hasKept`: whether a signal of its name is kept.
 */
export function onWait(
  untilMs: number,
  hasKept: boolean,
  nowMs: number,
): { is: "received" } | { is: "timed-out" } | { is: "waiting"; untilMs: number } {
  if (hasKept) return { is: "received" };
  if (untilMs <= nowMs) return { is: "timed-out" };
  return { is: "waiting", untilMs: Math.min(untilMs, nowMs + MAX_DURATION_MS) };
}

/** What a task already has of signals: those kept, all that were ever sent to it, and their bytes together. */
export interface SignalRoom {
  kept: number;
  total: number;
  bytes: number;
}

/** What becomes of a signal that is new to a task that has not ended. */
export function onSignal(
  room: SignalRoom,
  payloadBytes: number,
  isAwaited: boolean,
): "received" | "kept" | "full" {
  const fits = room.total < MAX_SIGNALS && room.bytes + payloadBytes <= MAX_SIGNAL_BYTES;
  if (!fits || (!isAwaited && room.kept >= MAX_KEPT_SIGNALS)) return "full";
  return isAwaited ? "received" : "kept";
}

/** Whether what it waited for wakes a task that was parked by the run with this token. */
export const isParkedBy = (task: Pick<TaskState, "status" | "token">, parkedToken: number | null): boolean =>
  task.status === "scheduled" && task.token === parkedToken;
