/**
 * What a shared cache may store, and for how long it is fresh (RFC 9111). When in doubt, nothing is stored: a response
 * that is fetched once more costs a call, one that is served to the wrong person cannot be taken back.
 *
 * Nothing stale is ever served, so `must-revalidate`, `stale-while-revalidate` and the like change nothing here.
 */
import { listsTag } from "../../kernel/entity-tags.ts";
import { parseHttpDate } from "../../kernel/http-date.ts";
import { parseCacheControl, parseSeconds } from "./cache-control.ts";

/** Statuses whose meaning this cache knows, and which an upstream may give a lifetime. No partial content. */
const STORED_STATUSES = new Set([200, 203, 300, 301, 308, 404, 405, 410, 414, 501]);

interface Head {
  status: number;
  headers: Headers;
}

/** What decides besides the response itself. */
export interface Sharing {
  /** The headers that are in the key of a stored response, in lower case. */
  keyHeaders: readonly string[];
  /** The upstream is called with an `Authorization` of Sluice's own, and its operator has not said that it may be shared. */
  isAuthorized: boolean;
}

/** For how many seconds a response is fresh, counted from when it was made; 0 if it may not be stored. */
export function lifetimeOf({ status, headers }: Head, { keyHeaders, isAuthorized }: Sharing): number {
  const directives = parseCacheControl(headers.get("cache-control"));
  if (directives.isDoubtful || !STORED_STATUSES.has(status)) return 0;
  // `private` and `no-cache` may name the headers that they are for (§5.2.2.4, §5.2.2.7): here they are for all of it.
  if (["no-store", "private", "no-cache"].some((name) => directives.has(name))) return 0;
  if (headers.has("set-cookie")) return 0;
  if (!headers.has("cache-control") && /no-cache/i.test(headers.get("pragma") ?? "")) return 0;
  if (!variesIn(headers.get("vary"), keyHeaders)) return 0;
  // §3.5
  const isShared = ["public", "s-maxage", "must-revalidate"].some((name) => directives.has(name));
  if (isAuthorized && !isShared) return 0;
  for (const name of ["s-maxage", "max-age"])
    if (directives.has(name)) return parseSeconds(directives.get(name)) ?? 0;
  const expiresMs = parseHttpDate(headers.get("expires") ?? "");
  const dateMs = parseHttpDate(headers.get("date") ?? "");
  return expiresMs === undefined || dateMs === undefined
    ? 0
    : Math.max(0, Math.floor((expiresMs - dateMs) / 1000));
}

/** True if whatever the response varies in is in its key (RFC 9111 §4.1). `*` varies in everything. */
function variesIn(vary: string | null, keyHeaders: readonly string[]): boolean {
  const names = (vary ?? "").toLowerCase().split(",");
  return names.map((name) => name.trim()).every((name) => name === "" || keyHeaders.includes(name));
}

/** Its age in seconds when it came (RFC 9111 §4.2.3), after a call that took `delayMs`. The head must have a Date. */
export function initialAge(headers: Headers, receivedAtMs: number, delayMs: number): number {
  const dateMs = parseHttpDate(headers.get("date") ?? "") ?? receivedAtMs;
  const apparentS = Math.max(0, (receivedAtMs - dateMs) / 1000);
  // Of a list, the first member counts; anything but a number is ignored (§5.1).
  const ageS = parseSeconds(headers.get("age")?.split(",")[0]?.trim()) ?? 0;
  return Math.max(apparentS, ageS + delayMs / 1000);
}

/** What a request's own Cache-Control says about a stored response (RFC 9111 §5.2.1). */
export interface Demands {
  /** It wants a response that was made for it. */
  isBypass: boolean;
  maxAgeS: number;
  minFreshS: number;
}

export function readDemands(headers: Headers): Demands {
  const directives = parseCacheControl(headers.get("cache-control"));
  const seconds = (name: string, absent: number) =>
    directives.has(name) ? (parseSeconds(directives.get(name)) ?? Number.NaN) : absent;
  const maxAgeS = seconds("max-age", Number.POSITIVE_INFINITY);
  const minFreshS = seconds("min-fresh", 0);
  const isUnclear = directives.isDoubtful || Number.isNaN(maxAgeS + minFreshS);
  const isBypass =
    isUnclear || maxAgeS === 0 || ["no-cache", "no-store"].some((name) => directives.has(name));
  return { isBypass: isBypass || headers.has("pragma"), maxAgeS, minFreshS };
}

/** Whether only a stored response will do (RFC 9111 §5.2.1.7). */
export const asksForStored = (headers: Headers): boolean =>
  parseCacheControl(headers.get("cache-control")).has("only-if-cached");

/**
 * The evaluation of If-None-Match and If-Modified-Since against a stored response (RFC 9111 §4.3.2, RFC 9110 §13.2.2):
 * true if a 304 is enough.
 */
export function isUnchanged(asked: Headers, { status, headers }: Head): boolean {
  if (status !== 200) return false;
  const tags = asked.get("if-none-match");
  if (tags !== null) {
    const own = headers.get("etag")?.replace(/^W\//, "");
    return listsTag(tags, own ?? "", "weak");
  }
  const modifiedMs = parseHttpDate(headers.get("last-modified") ?? "");
  const sinceMs = parseHttpDate(asked.get("if-modified-since") ?? "");
  return modifiedMs !== undefined && sinceMs !== undefined && modifiedMs <= sinceMs;
}
