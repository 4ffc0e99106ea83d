/**
 * tus 1.0.0 (https://tus.io/protocols/resumable-upload): the core, and the extensions creation, creation-with-upload,
 * creation-defer-length, expiration, checksum, termination and concatenation.
 */
import { Problem } from "../../kernel/problem.ts";
import { mismatch, TUS_ALGORITHMS, tusChecksum } from "../store/digests.ts";
import { tooLarge } from "../store/errors.ts";
import { readMetadata, readSize } from "../store/headers.ts";
import {
  type Chunk,
  commonRefusal,
  completedBefore,
  type Protocol,
  type Refused,
  type UploadCall,
} from "./upload-call.ts";
import type { Snapshot } from "./view.ts";

export const TUS_VERSION = "1.0.0";
const CHUNK_TYPE = "application/offset+octet-stream";

/** What OPTIONS tells of this server. */
export const tusOptions = (maxBytes: number): Record<string, string> => ({
  "Tus-Resumable": TUS_VERSION,
  "Tus-Version": TUS_VERSION,
  "Tus-Extension":
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation",
  "Tus-Max-Size": String(maxBytes),
  "Tus-Checksum-Algorithm": TUS_ALGORITHMS.join(","),
});

/** By its version; or, where that was forgotten, by what only it has. */
export function speaksTus(headers: Headers): boolean {
  if (headers.has("Tus-Resumable")) return !headers.has("Upload-Draft-Interop-Version");
  const isDraft = IETF_HEADERS.some((name) => headers.has(name));
  return !isDraft && (TUS_HEADERS.some((name) => headers.has(name)) || isChunk({ headers }));
}

const IETF_HEADERS = ["Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Incomplete"];
const TUS_HEADERS = [
  "Upload-Length",
  "Upload-Defer-Length",
  "Upload-Metadata",
  "Upload-Concat",
  "Upload-Checksum",
];

export const tus: Protocol = {
  removesFile: true,

  async create(call) {
    checkVersion(call);
    const concat = readConcat(call);
    const metadata = call.headers.get("Upload-Metadata");
    const entries = readMetadata(metadata);
    const length = concat.kind === "final" ? await call.sumOf(concat.sources) : readLength(call);
    if (length !== null && length > call.maxBytes) throw tooLarge(call.maxBytes);
    const outcome = await call.begin(
      {
        filename: entries.get("filename") ?? entries.get("name"),
        contentType: entries.get("filetype") ?? entries.get("type"),
        query: { ...call.query, ...Object.fromEntries(entries) },
      },
      { ...concat, length, endsAtLength: true, metadata },
      readFirstChunk(call, concat.kind === "final"),
    );
    // The upload is gone again: nothing is to be told of it.
    if (outcome.is !== "taken") throw refusal(outcome, {});
    const { now } = outcome;
    const headers = { ...progress(now), ...call.resultHeaders(now), Location: call.urlOf(now.id) };
    return new Response(null, { status: 201, headers });
  },

  check(call) {
    checkVersion(call);
  },

  describe(call, now) {
    const headers = new Headers({
      ...progress(now),
      ...call.resultHeaders(now),
      "Cache-Control": "no-store",
    });
    if (now.length === null) headers.set("Upload-Defer-Length", "1");
    else headers.set("Upload-Length", String(now.length));
    if (now.metadata !== null) headers.set("Upload-Metadata", now.metadata);
    if (now.concat !== null) headers.set("Upload-Concat", now.concat);
    return headers;
  },

  async append(call, id) {
    checkVersion(call);
    if (!isChunk(call)) {
      throw new Problem("unsupported-media", `Send the bytes as ${CHUNK_TYPE}.`, {
        headers: { "Accept-Patch": CHUNK_TYPE },
      });
    }
    const offset = readSize(call.headers, "Upload-Offset");
    if (offset === null) throw malformed("The header Upload-Offset is missing.");
    const length = readSize(call.headers, "Upload-Length");
    if (length !== null && length > call.maxBytes) throw tooLarge(call.maxBytes);
    const checksum = tusChecksum(call.headers);
    const outcome = await call.append(id, { offset, length, isLast: false, endsAtLength: true, checksum });
    if (outcome.is === "taken") return added(call, outcome.now);
    const before = completedBefore(call, outcome, offset);
    if (before) return added(call, before);
    throw refusal(outcome, undefined, offset);
  },
};

const added = (call: UploadCall, now: Snapshot) =>
  new Response(null, { status: 204, headers: { ...progress(now), ...call.resultHeaders(now) } });

/** `offset` is what the request has said. */
function refusal(
  outcome: Refused,
  headers = outcome.is === "refused" ? progress(outcome.now) : {},
  offset = 0,
): Problem {
  if (outcome.is === "wrong-digest") {
    return mismatch(outcome.header, headers);
  }
  const { why, now } = outcome;
  switch (why) {
    case "complete":
      if (offset === now.offset) return refusal({ ...outcome, why: "beyond-length" }, headers);
      return refusal({ ...outcome, why: "offset-mismatch" }, headers);
    case "offset-mismatch":
      return new Problem("mismatching-upload-offset", `The upload is at byte ${now.offset}.`, { headers });
    case "length-conflict": {
      const detail = "Upload-Length is not what was said before, or less than what is here.";
      return new Problem("malformed", detail, { headers });
    }
    case "beyond-length": {
      const detail = `The upload has ${now.length} bytes, and these go beyond.`;
      return new Problem("too-large", detail, { headers });
    }
    case "wrong-checksum": {
      const detail = "The bytes are not those of Upload-Checksum; none was kept.";
      return new Problem("checksum-mismatch", detail, { headers });
    }
    case "final":
    case "too-large":
    case "interrupted":
    case "preempted":
      return commonRefusal(why, headers);
  }
}

function checkVersion({ headers }: UploadCall): void {
  const version = headers.get("Tus-Resumable");
  if (version === TUS_VERSION) return;
  throw new Problem("unsupported-version", `This is tus ${TUS_VERSION}; say so in Tus-Resumable.`, {
    headers: { "Tus-Version": TUS_VERSION },
  });
}

function readLength({ headers }: UploadCall): number | null {
  const length = readSize(headers, "Upload-Length");
  const defer = headers.get("Upload-Defer-Length");
  if (defer !== null && defer !== "1") throw malformed("Upload-Defer-Length can only be 1.");
  if ((length === null) === (defer === null)) {
    throw malformed("Say how long the upload is in Upload-Length, or send Upload-Defer-Length: 1.");
  }
  return length;
}

/** `Upload-Concat: partial`, or `final;` and the URLs of the pieces, absolute or relative, in their order. */
function readConcat({
  headers,
  idOf,
}: UploadCall): Pick<Snapshot, "kind" | "concat"> & { sources: string[] } {
  const concat = headers.get("Upload-Concat");
  if (concat === null) return { kind: "whole", concat, sources: [] };
  if (concat === "partial") return { kind: "partial", concat, sources: [] };
  const [, list = ""] = /^final; *(.*)$/.exec(concat) ?? [];
  const sources = list.split(" ").filter(Boolean).map(idOf);
  if (sources.length === 0)
    throw malformed("Upload-Concat is neither partial nor final with the URLs of uploads.");
  if (headers.has("Upload-Length"))
    throw malformed("A final upload's length follows from its parts: send none.");
  return { kind: "final", concat, sources };
}

const isChunk = ({ headers }: Pick<UploadCall, "headers">) =>
  headers.get("Content-Type")?.toLowerCase() === CHUNK_TYPE;

/** What a creation brings along; an upload of no bytes is complete with that. */
function readFirstChunk(call: UploadCall, isFinal: boolean): Chunk | null {
  const isEmpty = call.contentLength === 0;
  if (isFinal && !isEmpty)
    throw malformed("A final upload is made of others, and takes no bytes of its own.");
  if (!isEmpty && !isChunk(call)) {
    throw new Problem("unsupported-media", `Send bytes at the creation as ${CHUNK_TYPE}, or none.`);
  }
  if (isEmpty && readSize(call.headers, "Upload-Length") !== 0) return null;
  return { offset: 0, length: null, isLast: false, endsAtLength: true, checksum: tusChecksum(call.headers) };
}

function progress(now: Snapshot): Record<string, string> {
  const isComplete = now.phase === "complete";
  const headers: Record<string, string> = {};
  // A final upload has no offset before it is put together.
  if (isComplete || now.kind !== "final") headers["Upload-Offset"] = String(now.offset);
  if (!isComplete || now.kind === "partial")
    headers["Upload-Expires"] = new Date(now.expiresAtMs).toUTCString();
  return headers;
}

const malformed = (detail: string) => new Problem("malformed", detail);
