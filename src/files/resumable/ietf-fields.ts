/**
 * The header fields of Resumable Uploads for HTTP, in all versions that clients speak: what a request says in them, and
 * how a response describes an upload. They are structured fields (RFC 9651).
 */
import { parseItem, serializeDictionary } from "structured-headers";
import { Problem } from "../../kernel/problem.ts";
import { reprDigest } from "../store/digests.ts";
import { essenceOf } from "../store/media-type.ts";
import type { FileSettings } from "../store/settings.ts";
import type { Snapshot } from "./snapshot.ts";
import type { UploadRequest } from "./upload-request.ts";

const FIRST = 3;
export const LATEST = 10;
export const PARTIAL_UPLOAD = "application/partial-upload";

/** Headers and media types by which a request can be told from one in tus. */
export const IETF_HEADERS = ["Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Incomplete"];

export const hasPartialUpload = ({ headers }: Pick<UploadRequest, "headers">): boolean =>
  essenceOf(headers.get("Content-Type") ?? "") === PARTIAL_UPLOAD;

/**
 * The version that a request speaks. Without the field it is the latest one, because the RFC will not have it. One that
 * is newer than the latest is read as that. Undefined for anything else.
 */
export function readVersion({ headers }: Pick<UploadRequest, "headers">): number | undefined {
  const text = headers.get("Upload-Draft-Interop-Version");
  if (text === null) return headers.has("Upload-Incomplete") ? FIRST : LATEST;
  return /^\d+$/.test(text) && Number(text) >= FIRST ? Math.min(Number(text), LATEST) : undefined;
}

/** As `readVersion`; throws a `Problem` 400 for a version that does not exist. */
export function versionOf(request: Pick<UploadRequest, "headers">): number {
  const version = readVersion(request);
  if (version !== undefined) return version;
  throw new Problem("malformed", `Upload-Draft-Interop-Version can be a version from ${FIRST} to ${LATEST}.`);
}

/** The field that says whether an upload is complete. */
export const completeness = (version: number) => (version === 3 ? "Upload-Incomplete" : "Upload-Complete");

const completenessValue = (version: number, isComplete: boolean) =>
  isComplete === version > 3 ? "?1" : "?0";

/** Undefined if the field is missing or malformed: a malformed field must be ignored (§4.1.2). */
export function readIsLast(request: UploadRequest, version: number): boolean | undefined {
  const value = readField(request, completeness(version));
  if (typeof value !== "boolean") return undefined;
  return version === 3 ? !value : value;
}

/**
 * A number of bytes, 0 or more; undefined if the field is missing or malformed (§4.1.1, §4.1.3). One of more than 15
 * digits is no integer of RFC 9651, but not to be ignored either: it is too large for whoever compares it with a limit.
 */
export function readInteger(request: UploadRequest, name: string): number | undefined {
  const text = request.headers.get(name)?.trim() ?? "";
  if (/^\d{16,}$/.test(text)) return Math.min(Number(text), Number.MAX_SAFE_INTEGER);
  const value = readField(request, name);
  // A decimal (`3.0`) is another type, which the parser does not distinguish.
  return /^\d{1,15}(?:;|$)/.test(text) && typeof value === "number" ? value : undefined;
}

function readField({ headers }: UploadRequest, name: string): unknown {
  try {
    return parseItem(headers.get(name) ?? "")[0];
  } catch {
    return undefined;
  }
}

/** `Upload-Limit`, for OPTIONS and for every response about an upload, which then has `secondsLeft` to live. */
export function uploadLimit(
  { maxBytes, maxRequestBytes }: Pick<FileSettings, "maxBytes" | "maxRequestBytes">,
  version = LATEST,
  secondsLeft?: number,
): string {
  const limits: Record<string, number> = { "max-size": maxBytes, "max-append-size": maxRequestBytes };
  if (secondsLeft !== undefined) limits[version >= 7 ? "max-age" : "expires"] = secondsLeft;
  return serializeDictionary(limits);
}

/** The state of an upload, for every response to a request on it. */
export function describeUpload(
  request: UploadRequest,
  version: number,
  upload: Snapshot,
): Record<string, string> {
  const isComplete = upload.phase === "complete";
  const secondsLeft = Math.max(0, Math.floor((upload.expiresAtMs - Date.now()) / 1000));
  const headers: Record<string, string> = {
    ...request.resultHeaders(upload),
    "Upload-Draft-Interop-Version": String(version),
    "Upload-Offset": String(upload.offset),
    [completeness(version)]: completenessValue(version, isComplete),
  };
  if (version >= 6) headers["Upload-Limit"] = uploadLimit(request, version, secondsLeft);
  // Also in versions without this header: a client that knows it can tell that the upload is complete.
  if (upload.length !== null) headers["Upload-Length"] = String(upload.length);
  // For Want-Repr-Digest (§10.1), whatever it prefers: there is this one or none.
  if (isComplete && upload.sha256 !== null) headers["Repr-Digest"] = reprDigest(upload.sha256);
  return headers;
}

/** What can be said where there is no upload, or none any longer. */
export function describeNone(
  request: UploadRequest,
  version: number,
  isComplete: boolean,
): Record<string, string> {
  const headers: Record<string, string> = { "Upload-Draft-Interop-Version": String(version) };
  if (version >= 6) headers["Upload-Limit"] = uploadLimit(request, version);
  if (version >= 7) headers[completeness(version)] = completenessValue(version, isComplete);
  return headers;
}
