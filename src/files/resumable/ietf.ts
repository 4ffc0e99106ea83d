/**
 * Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), in the versions that clients speak:
 *
 *     interop 3       draft -01                    `Upload-Incomplete`
 *     interop 4, 5    drafts -02, -03              `Upload-Complete` instead
 *     interop 6       drafts -04, -05              `application/partial-upload`, `Upload-Limit`, problem types
 *     interop 7, 8    drafts -06 to -11            `max-age`; only a request that says so completes an upload
 *
 * Up to version 6, an upload also completes when as many bytes are here as `Upload-Length` says, although the drafts
 * leave that to the client's word: tus-js-client, which speaks 5 and 6, often never says it. The word that comes
 * later all the same is then answered as if it had been the one.
 *
 * Workers cannot send 104 (Upload Resumption Supported), which a server may leave out.
 */
import { parseItem, serializeDictionary } from "structured-headers";
import { Problem } from "../../kernel/problem.ts";
import { type Expected, mismatch, rfc9530Digests } from "../store/digests.ts";
import { tooLarge } from "../store/errors.ts";
import { readMetadata } from "../store/headers.ts";
import { filenameOf } from "../store/names.ts";
import {
  commonRefusal,
  completedBefore,
  type Protocol,
  type Refused,
  type UploadCall,
} from "./upload-call.ts";
import type { Snapshot } from "./view.ts";

const VERSIONS = [3, 4, 5, 6, 7, 8];
const LATEST = 8;
export const PARTIAL_UPLOAD = "application/partial-upload";

/**
 * What Cloudflare takes as the body of one request on its Free and Pro plans (100 MB). Nothing larger is refused
 * here: other plans take more, and a client that keeps to this is well served by all.
 */
const MAX_APPEND_SIZE = 100_000_000;

/** For OPTIONS, and for all answers that tell of an upload. `secondsLeft` is the upload's. */
export function uploadLimit(maxBytes: number, version = LATEST, secondsLeft?: number): string {
  const limits: Record<string, number> = { "max-size": maxBytes, "max-append-size": MAX_APPEND_SIZE };
  if (secondsLeft !== undefined) limits[version >= 7 ? "max-age" : "expires"] = secondsLeft;
  return serializeDictionary(limits);
}

/** What a request that brings no bytes must not say, up to version 6. */
const STRAY_HEADERS = ["Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length"];

export const ietf: Protocol = {
  removesFile: false,

  async create(call) {
    const version = versionOf(call);
    const isLast = readIsLast(call, version);
    if (isLast === undefined) {
      throw malformed(
        `${completeness(version)} is missing, or is neither ?1 nor ?0: is this the whole, or not?`,
      );
    }
    if (readInteger(call, "Upload-Offset") !== undefined)
      throw malformed("A new upload has no Upload-Offset.");
    const length = readInteger(call, "Upload-Length") ?? null;
    const end = isLast ? call.contentLength : null;
    if (length !== null && end !== null && length !== end) throw inconsistent();
    const known = length ?? end;
    if (known !== null && known > call.maxBytes) throw beyondLimit(call);
    const metadata = call.headers.get("Upload-Metadata");
    const entries = readMetadata(metadata);
    const type = call.headers.get("Content-Type");
    const endsAtLength = version <= 6;
    const outcome = await call.begin(
      {
        filename: filenameOf(call.headers) ?? entries.get("filename"),
        contentType: type?.toLowerCase() === PARTIAL_UPLOAD ? entries.get("filetype") : type,
        query: call.query,
      },
      { kind: "whole", length: known, endsAtLength, metadata, concat: null, sources: [] },
      { offset: 0, length: null, isLast, endsAtLength, checksum: checksumOf(call) },
    );
    // The upload is gone again: nothing is to be told of it.
    if (outcome.is === "refused") throw refusal(call, version, outcome, 0, {});
    if (outcome.is === "wrong-digest") throw refusal(call, version, outcome);
    return answer(call, version, outcome.now, 201);
  },

  check(call) {
    const version = versionOf(call);
    if (version > 6) return;
    const stray = STRAY_HEADERS.find((name) => call.headers.has(name));
    if (stray !== undefined) throw malformed(`${stray} has no place in this request.`);
  },

  describe(call, now) {
    const version = versionOf(call);
    return new Headers({ ...progress(call, version, now), "Cache-Control": "no-store" });
  },

  async append(call, id) {
    const version = versionOf(call);
    const offset = readInteger(call, "Upload-Offset");
    if (offset === undefined) throw malformed("Upload-Offset is missing, or is no number.");
    if (version >= 6 && call.headers.get("Content-Type")?.toLowerCase() !== PARTIAL_UPLOAD) {
      throw new Problem("unsupported-media", `Send the bytes as ${PARTIAL_UPLOAD}.`, {
        headers: { "Accept-Patch": PARTIAL_UPLOAD },
      });
    }
    // Version 3 takes silence for yes, and up to 6 for no; from 7 on it must be said.
    const isLast = readIsLast(call, version) ?? (version >= 7 ? undefined : version === 3);
    if (isLast === undefined) throw malformed("Upload-Complete is missing, or is neither ?1 nor ?0.");
    const length = readInteger(call, "Upload-Length") ?? null;
    if (length !== null && length > call.maxBytes) throw beyondLimit(call);
    const chunk = { offset, length, isLast, endsAtLength: version <= 6, checksum: checksumOf(call) };
    const outcome = await call.append(id, chunk);
    if (outcome.is === "taken") return answer(call, version, outcome.now, version >= 7 ? 204 : 201);
    const before = isLast && version <= 6 ? completedBefore(call, outcome, offset) : undefined;
    if (before) return answer(call, version, before, 201);
    // More bytes than the upload has: from version 7 on, it cannot be used any more.
    if (version >= 7 && outcome.is === "refused" && outcome.why === "beyond-length")
      await call.remove(id, false);
    throw refusal(call, version, outcome, offset);
  },
};

/** `status` is for what leaves the upload incomplete; what completes it is a 200, or up to version 6 a 201. */
function answer(call: UploadCall, version: number, now: Snapshot, status: 201 | 204): Response {
  const headers = { ...progress(call, version, now), Location: call.urlOf(now.id) };
  if (now.phase !== "complete") return new Response(null, { status, headers });
  return Response.json(call.resultOf(now), { status: status === 204 ? 200 : 201, headers });
}

function refusal(
  call: UploadCall,
  version: number,
  outcome: Refused,
  offset = 0,
  headers = progressOf(call, version, outcome),
): Problem {
  if (outcome.is === "wrong-digest") {
    return mismatch(outcome.header, headers);
  }
  const { why, now } = outcome;
  switch (why) {
    case "complete":
      if (version <= 6) return new Problem("completed-upload", "The upload is complete.", { headers });
      if (call.contentLength !== 0) return inconsistent(headers);
      return new Problem("upload-gone", "The upload is complete.", { headers });
    case "offset-mismatch":
      return new Problem("mismatching-upload-offset", `The upload is at byte ${now.offset}.`, {
        headers,
        members: { "expected-offset": now.offset, "provided-offset": offset },
      });
    case "length-conflict":
    case "beyond-length":
      return inconsistent(headers);
    case "wrong-checksum":
      return mismatch("Content-Digest", headers);
    case "final":
    case "too-large":
    case "interrupted":
    case "preempted":
      return commonRefusal(why, headers);
  }
}

function progressOf(call: UploadCall, version: number, outcome: Refused): Record<string, string> {
  if (outcome.is !== "wrong-digest") return progress(call, version, outcome.now);
  // It is over, whatever the client does: from version 7 on the answer says so.
  return version >= 7 ? { "Upload-Complete": "?1" } : {};
}

function progress(call: UploadCall, version: number, now: Snapshot): Record<string, string> {
  const isComplete = now.phase === "complete";
  const secondsLeft = Math.max(0, Math.floor((now.expiresAtMs - Date.now()) / 1000));
  const headers: Record<string, string> = {
    ...call.resultHeaders(now),
    "Upload-Draft-Interop-Version": String(version),
    "Upload-Offset": String(now.offset),
    [completeness(version)]: isComplete === version > 3 ? "?1" : "?0",
  };
  if (version >= 6) headers["Upload-Limit"] = uploadLimit(call.maxBytes, version, secondsLeft);
  // Also in versions that do not know it: whoever knows both sees that it is done.
  if (now.length !== null) headers["Upload-Length"] = String(now.length);
  return headers;
}

const completeness = (version: number) => (version === 3 ? "Upload-Incomplete" : "Upload-Complete");

function versionOf({ headers }: UploadCall): number {
  const text = headers.get("Upload-Draft-Interop-Version");
  if (text === null) return headers.has("Upload-Incomplete") ? 3 : LATEST;
  if (/^\d$/.test(text) && VERSIONS.includes(Number(text))) return Number(text);
  throw malformed(`Upload-Draft-Interop-Version can be one of ${VERSIONS.join(", ")}.`);
}

/** Undefined if it is not said, or cannot be read: such a field counts as absent. */
function readIsLast(call: UploadCall, version: number): boolean | undefined {
  const value = readField(call, completeness(version));
  if (typeof value !== "boolean") return undefined;
  return version === 3 ? !value : value;
}

function readInteger(call: UploadCall, name: string): number | undefined {
  const value = readField(call, name);
  // A decimal (`3.0`) is another type, which the parser does not tell.
  const isInteger = /^\d{1,15}(?:;|$)/.test(call.headers.get(name)?.trim() ?? "");
  return isInteger && typeof value === "number" ? value : undefined;
}

function readField({ headers }: UploadCall, name: string): unknown {
  try {
    return parseItem(headers.get(name) ?? "")[0];
  } catch {
    return undefined;
  }
}

/** What this request's content must be (RFC 9530). Where several digests say so, one is enough. */
const checksumOf = ({ headers }: UploadCall): Expected | null =>
  rfc9530Digests(headers, "Content-Digest")[0] ?? null;

const inconsistent = (headers: Record<string, string> = {}) =>
  new Problem("inconsistent-upload-length", "That is not the length that the upload was said to have.", {
    headers,
  });

const beyondLimit = ({ maxBytes }: UploadCall) =>
  tooLarge(maxBytes, { "Upload-Limit": uploadLimit(maxBytes) });

const malformed = (detail: string) => new Problem("malformed", detail);
