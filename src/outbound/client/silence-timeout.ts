/**
 * The timeout of a call. It limits silence, not the whole duration: each sign of life starts it again, so a long
 * download may take any time, and a stalled one ends after `timeout_ms`.
 */
import { upstreamProblem } from "./errors.ts";

export interface SilenceTimeout {
  /** Aborts after `timeoutMs` of silence, or when one of the given signals does. */
  signal: AbortSignal;
  /** Starts the time again: something has happened. */
  refresh(): void;
  stop(): void;
}

export function startSilenceTimeout(timeoutMs: number, signals: AbortSignal[]): SilenceTimeout {
  const timeout = new AbortController();
  let lastMs = Date.now();
  // The timer is not set anew at each refresh: a body has many chunks.
  const check = () => {
    const silentMs = Date.now() - lastMs;
    if (silentMs < timeoutMs) timer = setTimeout(check, timeoutMs - silentMs);
    else timeout.abort(upstreamProblem("upstream-timeout", silenceDetail(timeoutMs)));
  };
  let timer = setTimeout(check, timeoutMs);
  return {
    signal: AbortSignal.any([timeout.signal, ...signals]),
    refresh: () => {
      lastMs = Date.now();
    },
    stop: () => clearTimeout(timer),
  };
}

const silenceDetail = (timeoutMs: number) =>
  `For ${timeoutMs} ms the upstream sent nothing, or the reader took nothing.`;
