/**
 * Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), in the versions that clients speak:
 *
 *     interop 3       draft -01                    `Upload-Incomplete`
 *     interop 4, 5    drafts -02, -03              `Upload-Complete` instead
 *     interop 6       drafts -04, -05              `application/partial-upload`, `Upload-Limit`, problem types
 *     interop 7, 8    drafts -06 to -11            `max-age`; only a request that says so completes an upload
 *
 * Up to version 6, an upload is also complete when it has the bytes that `Upload-Length` announced. The drafts
 * require an explicit `Upload-Complete`, but tus-js-client, which speaks 5 and 6, often never sends it. If it comes
 * later after all, it gets the same response as if it had completed the upload.
 *
 * Workers cannot send 104 (Upload Resumption Supported), which servers may omit.
 */
import { parseItem, serializeDictionary } from "structured-headers";
import { Problem } from "../../kernel/problem.ts";
import { digestMismatch, type ExpectedDigest, readDigestField } from "../store/digests.ts";
import { readFilename } from "../store/names.ts";
import { tooLarge } from "../store/problems.ts";
import { readMetadata } from "../store/upload-headers.ts";
import { alreadyComplete, commonRejection, type Protocol, type RejectedOutcome } from "./protocol.ts";
import type { Snapshot } from "./snapshot.ts";
import type { UploadRequest } from "./upload-request.ts";

const VERSIONS = [3, 4, 5, 6, 7, 8];
const LATEST = 8;
export const PARTIAL_UPLOAD = "application/partial-upload";

/**
 * The largest request body that Cloudflare accepts on its Free and Pro plans (100 MB). Larger bodies are not rejected
 * here, because other plans accept more; a client that stays below this limit works with every plan.
 */
const MAX_APPEND_SIZE = 100_000_000;

/** `Upload-Limit`, for OPTIONS and for every response about an upload, which then has `secondsLeft` to live. */
export function uploadLimit(maxBytes: number, version = LATEST, secondsLeft?: number): string {
  const limits: Record<string, number> = { "max-size": maxBytes, "max-append-size": MAX_APPEND_SIZE };
  if (secondsLeft !== undefined) limits[version >= 7 ? "max-age" : "expires"] = secondsLeft;
  return serializeDictionary(limits);
}

/** Headers that a request without bytes must not have, up to version 6. */
const STRAY_HEADERS = ["Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length"];

export const ietf: Protocol = {
  removesFile: false,

  async create(request) {
    const version = versionOf(request);
    const isLast = readIsLast(request, version);
    if (isLast === undefined) {
      throw malformed(
        `${completeness(version)} is missing, or is neither ?1 nor ?0: say whether this request has all bytes.`,
      );
    }
    if (readInteger(request, "Upload-Offset") !== undefined)
      throw malformed("A new upload has no Upload-Offset.");
    const length = readInteger(request, "Upload-Length") ?? null;
    const end = isLast ? request.contentLength : null;
    if (length !== null && end !== null && length !== end) throw inconsistent();
    const totalLength = length ?? end;
    if (totalLength !== null && totalLength > request.maxBytes) throw beyondLimit(request);
    const metadata = request.headers.get("Upload-Metadata");
    const entries = readMetadata(metadata);
    const type = request.headers.get("Content-Type");
    const endsAtLength = version <= 6;
    const outcome = await request.create(
      {
        filename: readFilename(request.headers) ?? entries.get("filename"),
        contentType: type?.toLowerCase() === PARTIAL_UPLOAD ? entries.get("filetype") : type,
        query: request.query,
      },
      { kind: "whole", length: totalLength, endsAtLength, metadata, concat: null, sources: [] },
      { offset: 0, length: null, isLast, endsAtLength, checksum: checksumOf(request) },
    );
    // The upload is removed again, so the response describes no progress.
    if (outcome.is === "rejected") throw rejection(request, version, outcome, 0, {});
    if (outcome.is === "wrong-digest") throw rejection(request, version, outcome);
    return respond(request, version, outcome.upload, 201);
  },

  check(request) {
    const version = versionOf(request);
    if (version > 6) return;
    const stray = STRAY_HEADERS.find((name) => request.headers.has(name));
    if (stray !== undefined) throw malformed(`${stray} is not allowed in this request.`);
  },

  describe(request, upload) {
    const version = versionOf(request);
    return new Headers({ ...progress(request, version, upload), "Cache-Control": "no-store" });
  },

  async append(request, id) {
    const version = versionOf(request);
    const offset = readInteger(request, "Upload-Offset");
    if (offset === undefined) throw malformed("Upload-Offset is missing, or is not a number.");
    if (version >= 6 && request.headers.get("Content-Type")?.toLowerCase() !== PARTIAL_UPLOAD) {
      throw new Problem("unsupported-media", `Send the bytes as ${PARTIAL_UPLOAD}.`, {
        headers: { "Accept-Patch": PARTIAL_UPLOAD },
      });
    }
    // If the header is missing, version 3 means yes and 4 to 6 mean no; from 7 on the header is required.
    const isLast = readIsLast(request, version) ?? (version >= 7 ? undefined : version === 3);
    if (isLast === undefined) throw malformed("Upload-Complete is missing, or is neither ?1 nor ?0.");
    const length = readInteger(request, "Upload-Length") ?? null;
    if (length !== null && length > request.maxBytes) throw beyondLimit(request);
    const chunk = { offset, length, isLast, endsAtLength: version <= 6, checksum: checksumOf(request) };
    const outcome = await request.append(id, chunk);
    if (outcome.is === "accepted") return respond(request, version, outcome.upload, version >= 7 ? 204 : 201);
    const complete = isLast && version <= 6 ? alreadyComplete(request, outcome, offset) : undefined;
    if (complete) return respond(request, version, complete, 201);
    // More bytes than the upload has: from version 7 on, the upload is then invalid.
    if (version >= 7 && outcome.is === "rejected" && outcome.reason === "beyond-length")
      await request.remove(id, false);
    throw rejection(request, version, outcome, offset);
  },
};

/** `status` is for an upload that is still incomplete. A complete one gets a 200, or up to version 6 a 201. */
function respond(request: UploadRequest, version: number, upload: Snapshot, status: 201 | 204): Response {
  const headers = { ...progress(request, version, upload), Location: request.urlOf(upload.id) };
  if (upload.phase !== "complete") return new Response(null, { status, headers });
  return Response.json(request.resultOf(upload), { status: status === 204 ? 200 : 201, headers });
}

function rejection(
  request: UploadRequest,
  version: number,
  outcome: RejectedOutcome,
  offset = 0,
  headers = progressOf(request, version, outcome),
): Problem {
  if (outcome.is === "wrong-digest") {
    return digestMismatch(outcome.header, headers);
  }
  const { reason, upload } = outcome;
  switch (reason) {
    case "complete":
      if (version <= 6) return new Problem("completed-upload", "The upload is complete.", { headers });
      if (request.contentLength !== 0) return inconsistent(headers);
      return new Problem("upload-gone", "The upload is complete.", { headers });
    case "offset-mismatch":
      return new Problem("mismatching-upload-offset", `The upload is at byte ${upload.offset}.`, {
        headers,
        members: { "expected-offset": upload.offset, "provided-offset": offset },
      });
    case "length-conflict":
    case "beyond-length":
      return inconsistent(headers);
    case "wrong-checksum":
      return digestMismatch("Content-Digest", headers);
    case "final":
    case "too-large":
    case "interrupted":
    case "preempted":
      return commonRejection(reason, headers);
  }
}

function progressOf(
  request: UploadRequest,
  version: number,
  outcome: RejectedOutcome,
): Record<string, string> {
  if (outcome.is !== "wrong-digest") return progress(request, version, outcome.upload);
  // The upload has ended, whatever the client does; from version 7 on the response says so.
  return version >= 7 ? { "Upload-Complete": "?1" } : {};
}

function progress(request: UploadRequest, version: number, upload: Snapshot): Record<string, string> {
  const isComplete = upload.phase === "complete";
  const secondsLeft = Math.max(0, Math.floor((upload.expiresAtMs - Date.now()) / 1000));
  const headers: Record<string, string> = {
    ...request.resultHeaders(upload),
    "Upload-Draft-Interop-Version": String(version),
    "Upload-Offset": String(upload.offset),
    [completeness(version)]: isComplete === version > 3 ? "?1" : "?0",
  };
  if (version >= 6) headers["Upload-Limit"] = uploadLimit(request.maxBytes, version, secondsLeft);
  // Also in versions without this header: a client that knows it can tell that the upload is complete.
  if (upload.length !== null) headers["Upload-Length"] = String(upload.length);
  return headers;
}

const completeness = (version: number) => (version === 3 ? "Upload-Incomplete" : "Upload-Complete");

function versionOf({ headers }: UploadRequest): number {
  const text = headers.get("Upload-Draft-Interop-Version");
  if (text === null) return headers.has("Upload-Incomplete") ? 3 : LATEST;
  if (/^\d$/.test(text) && VERSIONS.includes(Number(text))) return Number(text);
  throw malformed(`Upload-Draft-Interop-Version can be one of ${VERSIONS.join(", ")}.`);
}

/** Undefined if the field is missing or malformed: a malformed field counts as missing. */
function readIsLast(request: UploadRequest, version: number): boolean | undefined {
  const value = readField(request, completeness(version));
  if (typeof value !== "boolean") return undefined;
  return version === 3 ? !value : value;
}

function readInteger(request: UploadRequest, name: string): number | undefined {
  const value = readField(request, name);
  // A decimal (`3.0`) is another type, which the parser does not distinguish.
  const isInteger = /^\d{1,15}(?:;|$)/.test(request.headers.get(name)?.trim() ?? "");
  return isInteger && typeof value === "number" ? value : undefined;
}

function readField({ headers }: UploadRequest, name: string): unknown {
  try {
    return parseItem(headers.get(name) ?? "")[0];
  } catch {
    return undefined;
  }
}

/** The digest that the content of this request must have (RFC 9530). One is enough if there are several. */
const checksumOf = ({ headers }: UploadRequest): ExpectedDigest | null =>
  readDigestField(headers, "Content-Digest")[0] ?? null;

const inconsistent = (headers: Record<string, string> = {}) =>
  new Problem(
    "inconsistent-upload-length",
    "The length of the upload does not match what was sent or announced before.",
    { headers },
  );

const beyondLimit = ({ maxBytes }: UploadRequest) =>
  tooLarge(maxBytes, { "Upload-Limit": uploadLimit(maxBytes) });

const malformed = (detail: string) => new Problem("malformed", detail);
