/**
 * What a call claims: the limit key that it runs under, and how many permits it takes.
 *
 * The upstream's settings decide where they say something: a template makes the key, and a rule the least weight. Otherwise
 * the caller does, with `Sluice-Limit-Key` and `Sluice-Weight`, which do not travel to the upstream. A key names no secret,
 * but perhaps a person: it is in no log and no span.
 */
import { Problem } from "../../kernel/problem.ts";
import type { KeyPart } from "../limit-settings.ts";
import type { PermitRequest } from "../semaphore/permit-types.ts";
import type { Upstream } from "../upstreams.ts";
import { readings, segmentsOf } from "./path.ts";

export type Claim = Pick<PermitRequest, "key" | "weight">;

/** What code says of its call. */
export interface GivenClaim {
  limitKey?: string | undefined;
  weight?: number | undefined;
}

const KEY_HEADER = "sluice-limit-key";
const WEIGHT_HEADER = "sluice-weight";

const MAX_KEY_LENGTH = 256;
const KEY = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** True if a request says itself under which key it runs, or what it weighs. */
export const hasClaim = (headers: Headers): boolean => headers.has(KEY_HEADER) || headers.has(WEIGHT_HEADER);

/** What a request from outside claims. Throws a `Problem` 400 if that is malformed, or not the caller's to say. */
export function claimIn(upstream: Upstream, pathname: string, headers: Headers): Claim {
  const limitKey = headers.get(KEY_HEADER) ?? undefined;
  if (limitKey !== undefined && upstream.limitKey)
    throw new Problem(
      "malformed",
      `The limit key of a call to "${upstream.name}" follows from its settings (limit_key). Leave Sluice-Limit-Key out.`,
    );
  const text = headers.get(WEIGHT_HEADER) ?? undefined;
  if (text !== undefined && !/^[1-9]\d{0,5}$/.test(text)) throw badWeight("Sluice-Weight");
  return claimOf(upstream, pathname, headers, {
    limitKey,
    weight: text === undefined ? undefined : Number(text),
  });
}

/** What a call claims, given what its code says. Throws a `Problem` 400 if that is malformed. */
export function claimOf(
  upstream: Upstream,
  pathname: string,
  headers: Headers,
  { limitKey, weight = 1 }: GivenClaim,
): Claim {
  if (!Number.isSafeInteger(weight) || weight < 1) throw badWeight("The weight of a call");
  const key = limitKey ?? fill(upstream.limitKey, pathname, headers);
  if (key !== undefined && (key.length > MAX_KEY_LENGTH || !KEY.test(key))) throw badKey(upstream);
  const heaviest = Math.max(weight, leastWeight(upstream, pathname));
  return { ...(key !== undefined && { key }), ...(heaviest > 1 && { weight: heaviest }) };
}

/** The key that a template makes; none if the request lacks a header or a segment of it. */
function fill(
  template: readonly KeyPart[] | undefined,
  pathname: string,
  headers: Headers,
): string | undefined {
  if (!template) return undefined;
  const segments = segmentsOf(pathname);
  const parts = template.map((part) => {
    if ("text" in part) return part.text;
    return "header" in part ? headers.get(part.header) : segments[part.segment - 1];
  });
  return parts.every(Boolean) ? parts.join("") : undefined;
}

/** By the rule of the longest prefix. A path that can be read in several ways has the greatest weight of them. */
function leastWeight({ weights }: Upstream, pathname: string): number {
  if (weights.length === 0) return 1;
  return Math.max(
    ...readings(pathname).map((path) => weights.find(([prefix]) => path.startsWith(prefix))?.[1] ?? 1),
  );
}

const badWeight = (what: string) =>
  new Problem("malformed", `${what} must be a positive integer: the number of permits that it takes.`);

function badKey({ limitKey }: Upstream): Problem {
  const what = limitKey ? "The limit key that follows from this request" : "A limit key (Sluice-Limit-Key)";
  return new Problem(
    "malformed",
    `${what} must have 1 to ${MAX_KEY_LENGTH} printable ASCII characters, without spaces around them.`,
  );
}
