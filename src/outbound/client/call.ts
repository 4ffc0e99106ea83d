/**
 * One call to an upstream, redirects included. Redirects are followed by hand, so that each target is checked as
 * strictly as the first one, and no credentials leave the upstream's origin.
 */
import { exports } from "cloudflare:workers";
import { countSubrequests } from "../../kernel/subrequests.ts";
import { ConfigurationError } from "../../kernel/variables.ts";
import type { Upstream } from "../upstreams.ts";
import type { Claim } from "./claim.ts";
import { asCoded } from "./coding.ts";
import { contentLength } from "./content-length.ts";
import { upstreamProblem } from "./errors.ts";
import { isConfigured, isPersonal } from "./headers.ts";
import { originOf, targetOf } from "./path.ts";
import { tooLarge } from "./response-body.ts";
import type { SilenceTimeout } from "./silence-timeout.ts";
import type { RequestBody } from "./upload.ts";

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** A request to an upstream. */
export interface UpstreamRequest extends RequestBody {
  method: string;
  /** Includes the query. */
  path: string;
  headers: Headers;
  /** `error`: follow no redirect, and fail if the response is one. `manual`: a redirect is the response. */
  redirect?: "error" | "manual";
  /** Its limit key and weight. Default: no key, one permit. */
  claim?: Claim;
  /** Called with the head of each response, before its body is read: those of redirects and of all tries too. */
  onHead?: (head: ResponseHead) => void;
}

/** What came of one request to an upstream, whatever becomes of the body and of the call. */
export interface ResponseHead {
  method: string;
  url: URL;
  status: number;
  headers: Headers;
}

export interface CallResult {
  response: Response;
  isRedirected: boolean;
  /** Where the response came from. */
  url: URL;
}

interface Hop extends Omit<UpstreamRequest, "path"> {
  url: URL;
}

/** Makes the call and follows its redirects. Throws a `Problem` if there is no response, or none that may be used. */
export async function call(
  env: Env,
  upstream: Upstream,
  request: UpstreamRequest,
  timeout: SilenceTimeout,
): Promise<CallResult> {
  const fetcher = fetcherOf(env, upstream);
  let hop: Hop = { ...request, url: targetOf(upstream, request.path) };
  for (let redirects = 0; ; redirects++) {
    const response = await send(fetcher, hop, timeout.signal);
    const { status, headers } = response;
    request.onHead?.({ method: hop.method, url: hop.url, status, headers });
    if (response.webSocket) return { response, isRedirected: redirects > 0, url: hop.url };
    const location = headers.get("location");
    if (!REDIRECTS.has(status) || location === null || request.redirect === "manual")
      return { response: await check(response, upstream), isRedirected: redirects > 0, url: hop.url };
    await response.body?.cancel();
    if (request.redirect === "error") throw refused("The upstream redirects, and this call follows none.");
    if (redirects === MAX_REDIRECTS)
      throw refused(`The upstream redirects more than ${MAX_REDIRECTS} times.`);
    hop = afterRedirect(upstream, hop, status, location);
    timeout.waitFor("response", "upstream");
  }
}

/** Refuses a response that says it is too long. One that does not say so is cut off when it gets there. */
async function check(response: Response, { maxResponseBytes }: Upstream): Promise<Response> {
  const { status, body, headers } = response;
  if (status < 200 || status > 599) {
    throw upstreamProblem(
      "upstream-unreachable",
      `The upstream responded with ${status}, which is not a valid status.`,
    );
  }
  if (!body || (contentLength(headers) ?? 0) <= maxResponseBytes) return withSoundHead(response);
  await body.cancel();
  throw tooLarge(maxResponseBytes);
}

/**
 * The same response, with a head that another response can have: one Content-Length or none, and a reason phrase
 * without the tabs that RFC 9112 §4 allows there, and the constructor of `Response` does not.
 */
function withSoundHead({ status, statusText, body, headers: received }: Response): Response {
  const headers = new Headers(received);
  const length = contentLength(received);
  if (length === undefined) headers.delete("content-length");
  else headers.set("content-length", String(length));
  return asCoded(body, { status, statusText: statusText.replaceAll(/[^\x20-\x7e]/g, " "), headers });
}

async function send(
  fetcher: Pick<Fetcher, "fetch">,
  { url, method, headers, body }: Hop,
  signal: AbortSignal,
): Promise<Response> {
  // Apart, since what this throws is no fault of the upstream.
  const request = new Request(url, { method, headers, body, redirect: "manual", signal });
  countSubrequests({ external: 1 });
  try {
    // A coded body passes as it is (coding.ts).
    return await fetcher.fetch(request, { encodeResponseBody: "manual" });
  } catch (error) {
    signal.throwIfAborted();
    if (isOwnLimit(error)) throw error;
    throw upstreamProblem("upstream-unreachable", NO_RESPONSE, error);
  }
}

/** The runtime does not say which of them it was. */
const NO_RESPONSE =
  "The upstream could not be reached, ended the connection without a response, or sent one that is not valid HTTP.";

/** The platform limits how many calls an invocation makes, and how deep they go. That is no fault of the upstream. */
const isOwnLimit = (error: unknown): boolean => error instanceof Error && /subrequest/i.test(error.message);

/** The next request (RFC 9110 §15.4). If it goes to another origin, it goes without the upstream's credentials. */
function afterRedirect(upstream: Upstream, hop: Hop, status: number, location: string): Hop {
  const url = redirectTarget(upstream, hop.url, location);
  const headers =
    url.origin === hop.url.origin
      ? hop.headers
      : without(hop.headers, (name) => isConfigured(upstream, name) || isPersonal(name));
  const becomesGet = status === 303 || (status <= 302 && hop.method === "POST");
  if (becomesGet) {
    const method = hop.method === "HEAD" ? "HEAD" : "GET";
    if (!upstream.methods.includes(method))
      throw refused(`The upstream redirects to a ${method}, which is not allowed.`);
    return {
      url,
      method,
      body: null,
      bodyLength: undefined,
      headers: without(headers, (name) => name.startsWith("content-")),
    };
  }
  if (hop.body instanceof ReadableStream)
    throw refused("The upstream redirects a request whose body cannot be sent again.");
  return { ...hop, url, headers };
}

/** Where a redirect leads: to the upstream's origin, checked like the first request, or to an allowed origin. */
function redirectTarget(upstream: Upstream, from: URL, location: string): URL {
  if (!URL.canParse(location, from.href))
    throw refused("The upstream redirects to something that is not a URL.");
  const to = new URL(location, from);
  if (to.origin === originOf(upstream)) return onOrigin(upstream, to);
  const isAllowed = upstream.redirectOrigins.includes(to.origin) && to.username === "" && to.password === "";
  if (!isAllowed) throw refused(`The upstream redirects to ${to.origin}, which is not allowed.`);
  return to;
}

function onOrigin(upstream: Upstream, to: URL): URL {
  try {
    return targetOf(upstream, to.pathname + to.search);
  } catch (error) {
    throw refused("The upstream redirects to a path that is not allowed.", error);
  }
}

const without = (headers: Headers, isUnwanted: (name: string) => boolean): Headers =>
  new Headers([...headers].filter(([name]) => !isUnwanted(name)));

const refused = (detail: string, cause?: unknown) => upstreamProblem("redirect-refused", detail, cause);

function fetcherOf(env: Env, { name, target }: Upstream): Pick<Fetcher, "fetch"> {
  if ("origin" in target) return { fetch: fetchPastEdgeCache };
  const bound: unknown =
    "service" in target ? Reflect.get(env, target.service) : Reflect.get(exports, target.entrypoint);
  if (isFetcher(bound)) return bound;
  throw new ConfigurationError(
    "service" in target
      ? `UPSTREAMS.${name}.service is not a service binding of wrangler.toml.`
      : `UPSTREAMS.${name}.entrypoint is not an export of src/index.ts.`,
  );
}

/**
 * Cloudflare's own cache is in front of every origin. By itself it keeps whatever looks like a file, by its URL alone,
 * whoever asked and with whatever key.
 */
const fetchPastEdgeCache: Fetcher["fetch"] = async (input, init) =>
  fetch(input, { ...init, cache: "no-store" });

function isFetcher(value: unknown): value is Pick<Fetcher, "fetch"> {
  return (typeof value === "object" || typeof value === "function") && value !== null && "fetch" in value;
}
