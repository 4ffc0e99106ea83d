/**
 * One GET of a crawl or a collection, sorted by what it means for the work that it is part of.
 *
 * Sluice's own refusals are two kinds: those that hold for the address (its path is not allowed) and those that hold for
 * now (no permit, the upstream is paused). What the upstream sends is an answer, whatever its status; only 429, and 503
 * with a time, are about now. So each address ends in one way, and none fails the whole work.
 */
import { Problem, type ProblemKind } from "../../kernel/problem.ts";
import { fetchUpstream } from "../../outbound/index.ts";
import type { TaskContext } from "../../tasks/index.ts";

/** What a call needs of a task. */
export type Caller = Pick<TaskContext, "taskId" | "signal" | "waitUntil"> & { type: string };

export type Answer =
  | { is: "response"; response: Response }
  /** The upstream's configuration does not allow the address. */
  | { is: "refused" }
  /** Not now: to be tried again after this time. */
  | { is: "busy"; afterMs: number; reason: string }
  /** No usable response. */
  | { is: "failed"; reason: string };

const NOT_ALLOWED: ReadonlySet<ProblemKind> = new Set(["malformed", "forbidden", "method-not-allowed"]);
const NOT_NOW: ReadonlySet<ProblemKind> = new Set([
  "queue-full",
  "wait-limit",
  "paused",
  "breaker-open",
  "semaphore-unavailable",
]);
const FAILED: ReadonlySet<ProblemKind> = new Set([
  "upstream-unreachable",
  "upstream-timeout",
  "response-too-large",
  "redirect-refused",
]);
const DEFAULT_PAUSE_MS = 5_000;

/** `redirect`: whether a redirect is an answer. Throws what is neither, such as a secret that is missing. */
export async function get(
  caller: Caller,
  upstream: string,
  address: string,
  init: { accept: string; redirect?: "manual"; headers?: Record<string, string> },
): Promise<Answer> {
  const { accept, redirect, headers } = init;
  try {
    const response = await fetchUpstream(caller, upstream, address, {
      headers: { ...headers, accept },
      ...(redirect && { redirect }),
    });
    const { status } = response;
    const isBusy = status === 429 || (status === 503 && response.headers.has("retry-after"));
    if (!isBusy) return { is: "response", response };
    await response.body?.cancel();
    return {
      is: "busy",
      afterMs: pauseOf(response.headers.get("retry-after")),
      reason: `the upstream responded with ${status}`,
    };
  } catch (error) {
    caller.signal.throwIfAborted();
    if (!(error instanceof Problem)) throw error;
    if (NOT_ALLOWED.has(error.kind)) return { is: "refused" };
    if (FAILED.has(error.kind)) return { is: "failed", reason: error.detail };
    if (!NOT_NOW.has(error.kind)) throw error;
    return { is: "busy", afterMs: pauseOf(error.options.headers?.["Retry-After"]), reason: error.detail };
  }
}

const pauseOf = (retryAfter: string | null | undefined): number =>
  retryAfter !== null && retryAfter !== undefined && /^\d{1,6}$/.test(retryAfter)
    ? Number(retryAfter) * 1_000
    : DEFAULT_PAUSE_MS;

/**
 * The first bytes of a body, at most `maxBytes`, and whether that is all of it. The rest is not received. Undefined if the
 * body broke off.
 */
export async function readUpTo(
  { body }: Response,
  maxBytes: number,
  signal: AbortSignal,
): Promise<{ bytes: Uint8Array; isWhole: boolean } | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of body ?? []) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > maxBytes) break; // cancels the body
    }
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
  return { bytes: Buffer.concat(chunks).subarray(0, maxBytes), isWhole: size <= maxBytes };
}
