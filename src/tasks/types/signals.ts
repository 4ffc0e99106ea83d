/** Signals: what a task waits for from outside (`ctx.waitFor`), by a name. */
import type { Duration } from "./duration.ts";

/** What the name of a signal may be: it stands in URLs. */
const SIGNAL_NAME = /^[\w.-]{1,64}$/;

export const isSignalName = (name: unknown): name is string =>
  typeof name === "string" && SIGNAL_NAME.test(name);

export const SIGNAL_NAME_RULE =
  "A signal's name must have 1 to 64 letters, digits, _, - and . and nothing else.";

/** The limit for what a signal brings, as JSON text. */
export const MAX_PAYLOAD_BYTES = 64 * 1024;
/** What a URL can hold of it. */
export const MAX_LINK_PAYLOAD_BYTES = 1024;
/** 30 days. */
export const MAX_SIGNAL_LINK_S = 30 * 86_400;

export interface WaitOptions {
  /** Default: a year, and it can be no longer. */
  timeout?: Duration;
}

export interface SignalUrlOptions {
  /** At most 30 days. Default: 7 days. */
  expiresIn?: Duration;
  /** What the signal brings, as JSON of at most 1 KiB. Default: null. */
  payload?: unknown;
}

/**
 * `ctx.waitFor` throws this when no signal has come in time. In a later run of the task it throws it again: the time-out is
 * recorded. If the code does not catch it, the task is `failed` at once, since another attempt would fail as well.
 */
export class SignalTimeoutError extends Error {
  override readonly name = "SignalTimeoutError";
  /** The name of the signal. */
  readonly signal: string;

  constructor(signal: string) {
    super(`The signal "${signal}" has not come in time.`);
    this.signal = signal;
  }
}
