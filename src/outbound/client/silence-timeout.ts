/**
 * The timeout of a call. It limits silence, not the whole duration: each sign of life starts it again, so a long
 * download may take any time, and a stalled one ends after `timeout_ms`.
 *
 * It also knows whose silence it is. A body comes from one side and goes to the other, so whoever carries it says
 * which of the two has to act next. While the client has to, the upstream cannot be blamed.
 */
import { Problem } from "../../kernel/problem.ts";
import { upstreamProblem } from "./errors.ts";

type Party = "upstream" | "client";

export interface SilenceTimeout {
  /** Aborts after `timeoutMs` of silence, when one of the given signals does, or by `abort`. */
  signal: AbortSignal;
  /** Something has happened to this body, so the time starts again. `next` has to act now; nobody, if it is over. */
  waitFor(body: "upload" | "response", next?: Party): void;
  /** Ends the call with this error. */
  abort(error: unknown): void;
  /** The call is over. If an upload is not, it is aborted. */
  stop(): void;
}

export function startSilenceTimeout(timeoutMs: number, signals: AbortSignal[]): SilenceTimeout {
  const abort = new AbortController();
  const awaited: { upload: Party | undefined; response: Party | undefined } = {
    upload: undefined,
    response: "upstream",
  };
  let lastMs = Date.now();
  // The timer is not set anew at each sign of life: a body has many chunks.
  const check = () => {
    const silentMs = Date.now() - lastMs;
    if (silentMs < timeoutMs) timer = setTimeout(check, timeoutMs - silentMs);
    else abort.abort(silence(timeoutMs, awaited.upload, awaited.response));
  };
  let timer = setTimeout(check, timeoutMs);
  return {
    signal: AbortSignal.any([abort.signal, ...signals]),
    waitFor: (body, next) => {
      awaited[body] = next;
      lastMs = Date.now();
    },
    abort: (error) => abort.abort(error),
    stop: () => {
      clearTimeout(timer);
      if (awaited.upload) abort.abort(new Error("The call is over."));
    },
  };
}

function silence(timeoutMs: number, upload: Party | undefined, response: Party | undefined): Problem {
  if (upload === "client") return requestTimeout(`No more of the request's body came for ${timeoutMs} ms.`);
  if (response === "client") return requestTimeout(`Nothing of the response was read for ${timeoutMs} ms.`);
  return upstreamProblem("upstream-timeout", `The upstream was silent for ${timeoutMs} ms.`);
}

/** The client took too long: 408 (RFC 9110 §15.5.9). */
export const requestTimeout = (detail: string) => new Problem("request-timeout", detail);
