/** The internet and the Cache API as the Worker finds them: `fetch` through Cloudflare's own cache, and its limits. */
import { currentInvocation, subrequest } from "./invocation.ts";
import { platform } from "./platform.ts";

/** What Cloudflare keeps by the ending of its path: the kinds that matter here, of about sixty. */
const KEPT =
  /\.(?:avif|bin|bmp|css|csv|docx?|eot|exe|flac|gif|gz|ico|jar|jpe?g|js|mid|mp[34]|ogg|otf|pdf|png|pptx?|svg|tar|ttf|webm|webp|woff2?|xlsx?|zip)$/i;
const KEPT_MS = 120 * 60_000;

const edgeCache = new Map<string, { response: Response; untilMs: number }>();

/** Replaces the globals of the isolate, once. */
export function patchNetwork(): void {
  const realFetch = globalThis.fetch;
  const realCaches = caches;
  const simulated = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    if (!currentInvocation()) return realFetch(input, init);
    const request = new Request(input, init);
    const origin = platform.origins.get(new URL(request.url).origin);
    const go = async () => (origin ? origin(request) : realFetch(input, init));
    return subrequest("external", async () => (origin ? throughEdge(request, go) : go()));
  };
  globalThis.fetch = simulated;
  Object.defineProperty(globalThis, "caches", { value: wrapCaches(realCaches), configurable: true });
}

export function clearEdgeCache(): void {
  edgeCache.clear();
}

/** A GET whose path has one of the endings is answered from the cache, whoever asked first, and kept in it. */
async function throughEdge(request: Request, go: () => Promise<Response>): Promise<Response> {
  const { pathname } = new URL(request.url);
  const isPassed =
    request.method !== "GET" ||
    request.cache === "no-store" ||
    request.headers.has("authorization") ||
    request.headers.has("range") ||
    !KEPT.test(pathname);
  if (isPassed) return go();
  const kept = edgeCache.get(request.url);
  if (kept && kept.untilMs > Date.now()) return kept.response.clone();
  const response = await go();
  if (mayKeep(response))
    edgeCache.set(request.url, { response: response.clone(), untilMs: Date.now() + KEPT_MS });
  return response;
}

const mayKeep = ({ status, headers }: Response): boolean =>
  status === 200 &&
  !headers.has("set-cookie") &&
  !/private|no-store|no-cache|max-age=0/i.test(headers.get("cache-control") ?? "");

function wrapCaches(real: CacheStorage): CacheStorage {
  const simulated = {
    match: async (...args: Parameters<Cache["match"]>) =>
      subrequest("internal", async () => (platform.cacheApiWorks ? real.default.match(...args) : undefined)),
    put: async (...args: Parameters<Cache["put"]>) =>
      subrequest("internal", async () => (platform.cacheApiWorks ? real.default.put(...args) : undefined)),
    delete: async (...args: Parameters<Cache["delete"]>) =>
      subrequest("internal", async () => (platform.cacheApiWorks ? real.default.delete(...args) : false)),
  };
  return { default: simulated, open: async (name: string) => real.open(name) };
}
