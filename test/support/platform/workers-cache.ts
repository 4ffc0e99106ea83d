/**
 * Workers Cache: in front of an entrypoint that wrangler.toml names. It keeps what a shared cache may keep (RFC 9111), by
 * path and query, whoever asks, and lets requests for the same response wait for one call.
 */
import { platform } from "./platform.ts";

/** The entrypoints that have it, in wrangler.toml. */
const CACHED = new Set(["UpstreamCache"]);

type Fetch = () => Promise<Response>;
type Status = "HIT" | "MISS" | "EXPIRED" | "BYPASS";

interface Kept {
  response: Response;
  untilMs: number;
}

const kept = new Map<string, Kept>();
const underWay = new Map<string, Promise<Kept | undefined>>();

export function clearWorkersCache(): void {
  kept.clear();
}

export const isBehindCache = (entrypoint: string): boolean =>
  platform.hasWorkersCache && CACHED.has(entrypoint);

/** `fetch` of such an entrypoint, as its callers find it. */
export async function throughWorkersCache(name: string, request: Request, run: Fetch): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const key = JSON.stringify([name, pathname, search]);
  if (request.method !== "GET") return withStatus(await run(), "BYPASS");
  const found = kept.get(key);
  if (found && found.untilMs > Date.now()) return withStatus(found.response.clone(), "HIT");
  const first = underWay.get(key);
  if (first) {
    const shared = await waitFor(first);
    return shared ? withStatus(shared.response.clone(), "HIT") : withStatus(await run(), "BYPASS");
  }
  const { promise, resolve } = Promise.withResolvers<Kept | undefined>();
  underWay.set(key, promise);
  let made: Kept | undefined;
  try {
    const response = await run();
    made = await toKeep(response);
    if (!made) return withStatus(response, "BYPASS");
    kept.set(key, made);
    return withStatus(made.response.clone(), found ? "EXPIRED" : "MISS");
  } finally {
    underWay.delete(key);
    resolve(made);
  }
}

async function toKeep(response: Response): Promise<Kept | undefined> {
  const cacheControl = response.headers.get("cache-control") ?? "";
  const maxAgeS = Number(/max-age=(\d+)/.exec(cacheControl)?.[1] ?? 0);
  if (maxAgeS === 0 || /no-store|private/.test(cacheControl) || response.headers.has("set-cookie"))
    return undefined;
  const body = response.body && (await response.arrayBuffer());
  return { response: new Response(body, response), untilMs: Date.now() + maxAgeS * 1000 };
}

/** A request that waits has I/O of its own, without which the local runtime would end it. */
async function waitFor<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 10);
  return promise.finally(() => clearInterval(timer));
}

function withStatus(response: Response, status: Status): Response {
  const headers = new Headers(response.headers);
  headers.set("cf-cache-status", status);
  return new Response(response.body, { status: response.status, headers });
}
