/** One call to an upstream, with its redirects, which are followed by hand and checked like the first request. */
import { exports } from "cloudflare:workers";
import { ConfigurationError } from "../../kernel/variables.ts";
import type { Upstream } from "../upstreams.ts";
import { upstreamProblem } from "./errors.ts";
import { isConfigured, isPersonal } from "./headers.ts";
import { originOf, targetOf } from "./path.ts";
import { tooLarge, type Watch } from "./watch.ts";

const MOST_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** What is asked of an upstream. */
export interface Ask {
  method: string;
  /** With the query. */
  path: string;
  headers: Headers;
  /** Bytes can be sent again, a stream cannot. */
  body: ReadableStream<Uint8Array> | Uint8Array | null;
  /** Follow none, and refuse an answer that is one. */
  redirect?: "error";
}

export interface Called {
  response: Response;
  isRedirected: boolean;
}

interface Hop extends Omit<Ask, "path"> {
  url: URL;
}

/** Makes the call and follows its redirects. Throws a `Problem` when there is no answer, or none that may be used. */
export async function call(env: Env, upstream: Upstream, ask: Ask, watch: Watch): Promise<Called> {
  const fetcher = fetcherOf(env, upstream);
  let hop: Hop = { ...ask, url: targetOf(upstream, ask.path) };
  for (let redirects = 0; ; redirects++) {
    const response = await send(fetcher, hop, watch.signal);
    const location = response.headers.get("location");
    if (!REDIRECTS.has(response.status) || location === null)
      return { response: await check(response, upstream), isRedirected: redirects > 0 };
    await response.body?.cancel();
    if (ask.redirect === "error") throw refused("The upstream redirects, and this call follows none.");
    if (redirects === MOST_REDIRECTS)
      throw refused(`The upstream redirects more than ${MOST_REDIRECTS} times.`);
    hop = afterRedirect(upstream, hop, response.status, location);
    watch.touch();
  }
}

/** Refuses at once what says that it is too long; what does not say so is cut off when it is. */
async function check(response: Response, { maxResponseBytes }: Upstream): Promise<Response> {
  if (response.status < 200 || response.status > 599) {
    throw upstreamProblem(
      "upstream-unreachable",
      `The upstream answered with ${response.status}, which is no status.`,
    );
  }
  if (!response.body || Number(response.headers.get("content-length") ?? 0) <= maxResponseBytes)
    return response;
  await response.body.cancel();
  throw tooLarge(maxResponseBytes);
}

async function send(
  fetcher: Pick<Fetcher, "fetch">,
  { url, ...init }: Hop,
  signal: AbortSignal,
): Promise<Response> {
  try {
    return await fetcher.fetch(url, { ...init, redirect: "manual", signal });
  } catch (error) {
    signal.throwIfAborted();
    throw upstreamProblem("upstream-unreachable", "The upstream could not be reached.", error);
  }
}

/** The next request (RFC 9110 §15.4): without the upstream's credentials, if it goes to another origin. */
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
    return { url, method, body: null, headers: without(headers, (name) => name.startsWith("content-")) };
  }
  if (hop.body instanceof ReadableStream)
    throw refused("The upstream redirects a request whose body cannot be sent again.");
  return { ...hop, url, headers };
}

/** Where a redirect leads: on the upstream's origin as strict as the first time, or to one that is allowed. */
function redirectTarget(upstream: Upstream, from: URL, location: string): URL {
  if (!URL.canParse(location, from.href)) throw refused("The upstream redirects to what is no URL.");
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
  // As a function of its own: the runtime's `fetch` cannot be called as another object's method.
  if ("origin" in target) return { fetch: async (input, init) => fetch(input, init) };
  const bound: unknown =
    "service" in target ? Reflect.get(env, target.service) : Reflect.get(exports, target.entrypoint);
  if (isFetcher(bound)) return bound;
  throw new ConfigurationError(
    "service" in target
      ? `UPSTREAMS.${name}.service is not a service binding of wrangler.toml.`
      : `UPSTREAMS.${name}.entrypoint is not an export of src/index.ts.`,
  );
}

function isFetcher(value: unknown): value is Pick<Fetcher, "fetch"> {
  return (typeof value === "object" || typeof value === "function") && value !== null && "fetch" in value;
}
