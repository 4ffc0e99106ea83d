/**
 * Preconditions (RFC 9110 §13): what a request expects of the current file, evaluated in the order of §13.2.2.
 *
 * Pure functions. The catalogue evaluates them again in the step that changes a file, so that no other change can
 * come in between.
 */

import { listsTag } from "../../kernel/entity-tags.ts";
import { parseHttpDate } from "../../kernel/http-date.ts";

/** The headers as they were sent. Plain data, because it is sent to the catalogue. */
export interface Preconditions {
  ifMatch: string | null;
  ifNoneMatch: string | null;
  ifModifiedSince: string | null;
  ifUnmodifiedSince: string | null;
}

/** What identifies the current version: its strong ETag, and its date (version-date.ts). */
export interface Validators {
  etag: string;
  datedAtMs: number;
}

export type PreconditionResult = "proceed" | "not-modified" | "failed";

export const NO_PRECONDITIONS: Preconditions = {
  ifMatch: null,
  ifNoneMatch: null,
  ifModifiedSince: null,
  ifUnmodifiedSince: null,
};

export function readPreconditions(headers: Headers): Preconditions {
  return {
    ifMatch: headers.get("If-Match"),
    ifNoneMatch: headers.get("If-None-Match"),
    ifModifiedSince: headers.get("If-Modified-Since"),
    ifUnmodifiedSince: headers.get("If-Unmodified-Since"),
  };
}

export const hasPreconditions = (preconditions: Preconditions) =>
  Object.values(preconditions).some((header) => header !== null);

/** `current` is undefined if there is no file. `isRead` is for GET and HEAD, which can get a 304. */
export function evaluatePreconditions(
  preconditions: Preconditions,
  current: Validators | undefined,
  isRead: boolean,
): PreconditionResult {
  const { ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = preconditions;
  if (ifMatch !== null) {
    if (!current || !listsTag(ifMatch, current.etag, "strong")) return "failed";
  } else if (ifUnmodifiedSince !== null && isModifiedSince(current, ifUnmodifiedSince) === true) {
    return "failed";
  }
  if (ifNoneMatch !== null) {
    if (current && listsTag(ifNoneMatch, current.etag, "weak")) return isRead ? "not-modified" : "failed";
  } else if (isRead && ifModifiedSince !== null && isModifiedSince(current, ifModifiedSince) === false) {
    return "not-modified";
  }
  return "proceed";
}

/**
 * Whether the Range applies: If-Range is missing, or is the ETag of the current version. A date never is enough: a client
 * must not send one where it has an ETag, and a date alone is no strong validator (§13.1.5).
 */
export const ifRangeMatches = (ifRange: string | null, current: Validators): boolean =>
  ifRange === null || ifRange.trim() === current.etag;

/** Undefined if the date cannot be parsed or there is no file: the header is then ignored (§13.1.3, §13.1.4). */
function isModifiedSince(current: Validators | undefined, date: string): boolean | undefined {
  const sinceMs = parseHttpDate(date);
  return current && sinceMs !== undefined ? current.datedAtMs > sinceMs : undefined;
}
