/**
 * A call to an upstream, under a permit.
 *
 * The permit is held until the last byte of the answer has gone by, or its reader has gone away: an upstream is
 * still at work while it sends. Returning a `Response` ends a function long before that, so the end is watched for
 * on the body. The call as a whole has a deadline, which is over before the lease is.
 *
 * A caller that goes away does not take its call back: many an upstream goes on working for nobody, and the permit
 * says that it works. So the call goes on until the head of the answer is here, or the deadline.
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
  /** Aborted when the client has gone. */
  signal: AbortSignal;
}

/**
 * GETs `path` from an upstream and gives its answer, whatever the status; its body must be read or cancelled.
 * Throws `upstreamFailed` when the upstream cannot be reached or takes too long, or 503 when no permit was free.
 */
export async function callUpstream(caller: Caller, upstream: Upstream, path: string): Promise<Response> {
  const fetcher = fetcherOf(upstream);
  const permit = await acquirePermit(caller.env, upstream, caller.signal);
  const over = Promise.withResolvers<void>();
  // Registered before the call begins: it goes on, and its permit is released, when the client has gone.
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
    const response = await fetcher.fetch(urlOf(upstream, path), {
      headers: { Accept: "application/json", "User-Agent": "sluice", "X-Request-Id": caller.requestId },
      redirect: "manual",
      signal: deadline.signal,
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

function urlOf({ origin = EMBEDDED_ORIGIN }: Upstream, path: string): URL {
  const url = new URL(path, origin);
  if (url.origin !== origin) throw new Error("A path may not lead to another origin.");
  return url;
}

function fetcherOf({ name, entrypoint }: Upstream): Pick<Fetcher, "fetch"> {
  // As a function of its own: the runtime's `fetch` cannot be called as another object's method.
  if (entrypoint === undefined) return { fetch: async (input, init) => fetch(input, init) };
  const embedded: unknown = Reflect.get(exports, entrypoint);
  if (isFetcher(embedded)) return embedded;
  throw new ConfigurationError(`UPSTREAMS.${name}.entrypoint is not an export of src/index.ts.`);
}

function isFetcher(value: unknown): value is Pick<Fetcher, "fetch"> {
  return (typeof value === "object" || typeof value === "function") && value !== null && "fetch" in value;
}
