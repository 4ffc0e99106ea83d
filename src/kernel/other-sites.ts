/**
 * Pages of other sites, which must not call with the credentials that a browser adds by itself.
 *
 * A browser says where a request comes from in Fetch Metadata (`Sec-Fetch-Site`), and in `Origin`. No script can set
 * either. Each that is present must speak for the request: without Fetch Metadata, an `Origin` that is not ours is
 * another site's, and so is the `Origin: null` of a sandboxed frame or a redirect. Without both, it is no page that
 * calls, or a link that somebody follows.
 *
 * On this machine (`ACCESS=local`) that is not enough. A page of a name that resolves to 127.0.0.1 (DNS rebinding) is
 * of the same origin for its browser, which sends neither header with a GET to a plain-http name. Its `Host` gives it
 * away; but the local runtime takes URL and Host from the header `MF-Original-URL`, which a script may set, and removes
 * that header. What remains is that only browsers send `Accept-Language` and call themselves Mozilla, and that browsers
 * send Fetch Metadata to localhost. So a browser that sends none is not on a page of localhost.
 *
 * This is as much as can be seen here. A script may set `Accept-Language`, and by the standard (Fetch §2.2.2)
 * `User-Agent` too. Firefox lets it, and Chromium does not, yet. A page that uses both passes for a program, and can send
 * GET. It can send nothing else, because its browser then adds its `Origin`.
 */
import { Problem } from "./problem.ts";

/** Throws a `Problem` 403 for a request from a page of another site that `corsOrigins` does not name. */
export function refuseOtherSites(corsOrigins: readonly string[], request: Request): void {
  if (!isOfOtherSite(corsOrigins, request)) return;
  throw new Problem(
    "forbidden",
    "A page of another site must send a Bearer token of its own, or be named in the variable CORS_ORIGINS.",
    { headers: { "WWW-Authenticate": 'Bearer realm="sluice"' } },
  );
}

/**
 * Throws a `Problem` 403 unless the request comes from a page of this origin, or reads and comes from no page at all.
 * What changes something has an Origin from every browser (Fetch §3.2): without one, it is forged.
 */
export function requireOwnPage(request: Request): void {
  refuseOtherSites([], request);
  if (["GET", "HEAD"].includes(request.method) || request.headers.has("Origin")) return;
  throw new Problem(
    "forbidden",
    "A request of a session that changes something needs the Origin of this Worker.",
  );
}

function isOfOtherSite(corsOrigins: readonly string[], request: Request): boolean {
  const site = request.headers.get("Sec-Fetch-Site");
  const origin = request.headers.get("Origin");
  if (origin !== null && corsOrigins.includes(origin)) return false;
  const isOurs = site === "same-origin" || site === "none";
  if (site !== null && !isOurs) return true;
  // A page without a referrer, as ours are, may send `null` to its own origin.
  if (origin === null || (origin === "null" && isOurs)) return false;
  return origin !== ownOrigin(request);
}

/** What the `Origin` of our own pages is. */
function ownOrigin(request: Request): string {
  const { protocol, host } = new URL(request.url);
  const own = `${protocol}//${request.headers.get("Host") ?? host}`;
  return URL.canParse(own) ? new URL(own).origin : own;
}

/** Whether the request was sent to a loopback name, and not to another that resolves to this machine. */
export function isToLoopback(request: Request): boolean {
  const { protocol, host } = new URL(request.url);
  const named = request.headers.get("Host") ?? host;
  return isLoopback(`${protocol}//${host}`) && (named === host || isLoopback(`${protocol}//${named}`));
}

function isLoopback(origin: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(URL.parse(origin)?.hostname ?? "");
}

/**
 * Throws a `Problem` 403 for a request that claims to be to a loopback name, and is from a browser that has not sent it
 * there.
 */
export function refuseRebound({ headers }: Request): void {
  const agent = headers.get("User-Agent") ?? "";
  // Node's `fetch` sends `Accept-Language: *`, and PowerShell calls itself Mozilla.
  const isBrowser =
    (headers.get("Accept-Language") ?? "*") !== "*" ||
    (/^mozilla\//i.test(agent) && !/powershell/i.test(agent));
  const isForged = headers.has("MF-Original-URL");
  if (!isForged && (!isBrowser || headers.has("Sec-Fetch-Site"))) return;
  throw new Problem(
    "forbidden",
    "This looks like a page of another name that resolves to this machine: a browser sent it, and not to localhost. " +
      "If your browser is too old to send Sec-Fetch-Site, use a token (.dev.vars.example).",
    { headers: { "WWW-Authenticate": 'Bearer realm="sluice"' } },
  );
}
