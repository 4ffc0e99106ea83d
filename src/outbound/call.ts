/**
 * A call to an upstream, under a permit.
 *
 * The permit is held until the last byte of the answer has gone by, or its reader has gone away: an upstream is
 * still at work while it sends. Returning a `Response` ends a function long before that, so the end is watched for
 * on the body. The call as a whole has a deadline, which is over before the lease is.
 */
import { exports } from "cloudflare:workers";
import { errorFields, log } from "../kernel/log.ts";
import { Problem } from "../kernel/problem.ts";
import { ConfigurationError } from "../kernel/variables.ts";
import { acquirePermit } from "./permit.ts";
import type { Upstream } from "./upstreams.ts";

/** Embedded upstreams have no address of their own; their requests show this one. */
const EMBEDDED_ORIGIN = "http://embedded";

export interface Caller {
  env: Env;
  ctx: Pick<ExecutionContext, "waitUntil">;
  requestId: string;
  /** Aborted when the client has gone: its call is then of no use any more. */
  signal: AbortSignal;
}

/**
 * GETs `path` from an upstream and gives its answer, whatever the status; its body must be read or cancelled.
 * Throws `upstreamFailed` when the upstream cannot be reached or takes too long, or 503 when no permit was free.
 */
export async function callUpstream(caller: Caller, upstream: Upstream, path: string): Promise<Response> {
  const fetcher = fetcherOf(upstream);
  const permit = await acquirePermit(caller.env, upstream);
  const over = Promise.withResolvers<void>();
  caller.ctx.waitUntil(over.promise.then(() => permit.release()));
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort(new Error(`The call took longer than ${upstream.timeoutMs} ms.`));
    over.resolve();
  }, upstream.timeoutMs);
  const end = () => {
    clearTimeout(timer);
    over.resolve();
  };
  try {
    const response = await fetcher.fetch(new URL(path, upstream.origin ?? EMBEDDED_ORIGIN), {
      headers: { Accept: "application/json", "User-Agent": "sluice", "X-Request-Id": caller.requestId },
      redirect: "manual",
      signal: AbortSignal.any([deadline.signal, caller.signal]),
    });
    if (!response.body) end();
    return new Response(response.body && watchEnd(response.body, end), response);
  } catch (error) {
    end();
    throw upstreamFailed(caller, upstream, error);
  }
}

/** The one answer for an upstream that failed, whatever the reason; that goes to the log. */
export function upstreamFailed(caller: Caller, upstream: Upstream, reason: unknown): Problem {
  log("warn", "upstream failed", {
    upstream: upstream.name,
    requestId: caller.requestId,
    ...errorFields(reason),
  });
  return new Problem("upstream-failed", "External API request failed");
}

/** The same bytes; `onEnd` is called once they have all gone by, or nobody wants or sends them any more. */
function watchEnd(body: ReadableStream<Uint8Array>, onEnd: () => void): ReadableStream<Uint8Array> {
  return body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({ flush: onEnd, cancel: onEnd }));
}

function fetcherOf(upstream: Upstream): Pick<Fetcher, "fetch"> {
  if (upstream.entrypoint === undefined) return { fetch };
  const entrypoint: unknown = Reflect.get(exports, upstream.entrypoint);
  if (isFetcher(entrypoint)) return entrypoint;
  throw new ConfigurationError(`UPSTREAMS.${upstream.name}.entrypoint is not an export of src/index.ts.`);
}

function isFetcher(value: unknown): value is Pick<Fetcher, "fetch"> {
  return (typeof value === "object" || typeof value === "function") && value !== null && "fetch" in value;
}
