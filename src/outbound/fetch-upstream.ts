/**
 * A call to an upstream from code, in one line, with everything that `/fetch` guarantees: a permit, retries, the
 * cache.
 *
 *     const response = await fetchUpstream(ctx, "weather", "/v1/today?city=Berlin");   // in a task
 *     const response = await fetchUpstream(c, "weather", "/v1/today?city=Berlin");     // in a route
 */
import { countSubrequests } from "../kernel/subrequests.ts";
import { ConfigurationError } from "../kernel/variables.ts";
import { type CallContext, callerOf } from "./caller.ts";
import { contentLength } from "./client/content-length.ts";
import { callFromCode } from "./proxy/proxy.ts";
import { readUpstreams, type Upstream } from "./upstreams.ts";

/** The subrequests of a call besides the one to the upstream and the first one for its permit, at most: cache, renewals. */
const CALL_OVERHEAD = 6;

/** As for `fetch`. A body that is not a stream can be sent again, by a retry or a redirect. */
export interface FetchUpstreamInit extends Pick<RequestInit, "method" | "headers" | "body"> {
  /**
   * `error`: fail if the upstream redirects. `manual`: a redirect is the response, and the cache is not used. By default
   * redirects are followed where the configuration allows them.
   */
  redirect?: "error" | "manual";
  /** For whom the call is made: calls with different limit keys take turns. Default: as the upstream's `limit_key` says. */
  limitKey?: string;
  /** How many permits the call takes. Default: as the upstream's `weights` say, or 1. */
  weight?: number;
}

/**
 * Calls `path` (with its query) of the upstream that wrangler.toml calls `name`, and resolves to its response,
 * whatever the status, with its body decoded. Read or cancel the body: until then a long response holds its permit. The
 * caller's own credentials, such as `Authorization` and `Cookie`, are not sent; the upstream's belong in its `headers` in
 * wrangler.toml.
 *
 * Throws a `Problem` if the method or the path is not allowed, if there is no permit (503, with Retry-After), or if
 * there is no usable response (502, 504); a `ConfigurationError` if there is no such upstream.
 */
export async function fetchUpstream(
  context: CallContext,
  name: string,
  path: string,
  { redirect, limitKey, weight, ...init }: FetchUpstreamInit = {},
): Promise<Response> {
  const caller = callerOf(context);
  countSubrequests({ internal: CALL_OVERHEAD });
  const upstream = upstreamNamed(caller.env, name);
  // Only its method, headers and body are used: `fetch`'s own rules say what they are.
  const request = new Request("http://upstream.internal", init);
  const readBody = async () => {
    if (!request.body) return { body: null };
    if (init.body instanceof ReadableStream)
      return { body: request.body, bodyLength: contentLength(request.headers) };
    return { body: new Uint8Array(await request.arrayBuffer()) };
  };
  const { method, headers } = request;
  return callFromCode(caller, upstream, {
    method,
    headers,
    path,
    readBody,
    given: { limitKey, weight },
    ...(redirect && { redirect }),
  });
}

function upstreamNamed(env: Env, name: string): Upstream {
  const upstreams = readUpstreams(env);
  const upstream = upstreams.get(name);
  if (upstream) return upstream;
  const names = [...upstreams.keys()].join(", ");
  throw new ConfigurationError(
    `There is no upstream "${name}" in wrangler.toml. UPSTREAMS has ${names || "none"}; ` +
      `add a section [vars.UPSTREAMS.${name}].`,
  );
}
