/**
 * tus 1.0.0 (https://tus.io/protocols/resumable-upload): the core protocol, and the extensions creation,
 * creation-with-upload, creation-defer-length, expiration, checksum, termination and concatenation.
 */
import { Problem } from "../../kernel/problem.ts";
import { digestMismatch, readTusChecksum, TUS_ALGORITHMS } from "../store/digests.ts";
import { tooLarge } from "../store/problems.ts";
import { readMetadata, readSize } from "../store/upload-headers.ts";
import { alreadyComplete, commonRejection, type Protocol, type RejectedOutcome } from "./protocol.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Chunk, UploadRequest } from "./upload-request.ts";

export const TUS_VERSION = "1.0.0";
export const TUS_MEDIA_TYPE = "application/offset+octet-stream";

/** The capabilities of this server, for OPTIONS. */
export const tusOptions = (maxBytes: number): Record<string, string> => ({
  "Tus-Resumable": TUS_VERSION,
  "Tus-Version": TUS_VERSION,
  "Tus-Extension":
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation",
  "Tus-Max-Size": String(maxBytes),
  "Tus-Checksum-Algorithm": TUS_ALGORITHMS.join(","),
});

/** Recognised by the version header or, if that is missing, by headers and media types that only tus has. */
export function speaksTus(headers: Headers): boolean {
  if (headers.has("Tus-Resumable")) return !headers.has("Upload-Draft-Interop-Version");
  const isDraft = IETF_HEADERS.some((name) => headers.has(name));
  return !isDraft && (TUS_HEADERS.some((name) => headers.has(name)) || hasTusMediaType({ headers }));
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

  async create(request) {
    checkVersion(request);
    const concat = readConcat(request);
    const metadata = request.headers.get("Upload-Metadata");
    const entries = readMetadata(metadata);
    const length = concat.kind === "final" ? await request.totalSizeOf(concat.sources) : readLength(request);
    if (length !== null && length > request.maxBytes) throw tooLarge(request.maxBytes);
    const outcome = await request.create(
      {
        filename: entries.get("filename") ?? entries.get("name"),
        contentType: entries.get("filetype") ?? entries.get("type"),
        query: { ...request.query, ...Object.fromEntries(entries) },
      },
      { ...concat, length, endsAtLength: true, metadata },
      readFirstChunk(request, concat.kind === "final"),
    );
    // The upload is removed again, so the response describes no progress.
    if (outcome.is !== "accepted") throw rejection(outcome, {});
    const { upload } = outcome;
    const headers = {
      ...progress(upload),
      ...request.resultHeaders(upload),
      Location: request.urlOf(upload.id),
    };
    return new Response(null, { status: 201, headers });
  },

  check(request) {
    checkVersion(request);
  },

  describe(request, upload) {
    const headers = new Headers({
      ...progress(upload),
      ...request.resultHeaders(upload),
      "Cache-Control": "no-store",
    });
    if (upload.length === null) headers.set("Upload-Defer-Length", "1");
    else headers.set("Upload-Length", String(upload.length));
    if (upload.metadata !== null) headers.set("Upload-Metadata", upload.metadata);
    if (upload.concat !== null) headers.set("Upload-Concat", upload.concat);
    return headers;
  },

  async append(request, id) {
    checkVersion(request);
    if (!hasTusMediaType(request)) {
      throw new Problem("unsupported-media", `Send the bytes as ${TUS_MEDIA_TYPE}.`, {
        headers: { "Accept-Patch": TUS_MEDIA_TYPE },
      });
    }
    const offset = readSize(request.headers, "Upload-Offset");
    if (offset === null) throw malformed("The header Upload-Offset is missing.");
    const length = readSize(request.headers, "Upload-Length");
    if (length !== null && length > request.maxBytes) throw tooLarge(request.maxBytes);
    const checksum = readTusChecksum(request.headers);
    const chunk = { offset, length, isLast: false, endsAtLength: true, checksum };
    const outcome = await request.append(id, chunk);
    if (outcome.is === "accepted") return noContent(request, outcome.upload);
    const complete = alreadyComplete(request, outcome, offset);
    if (complete) return noContent(request, complete);
    throw rejection(outcome, undefined, offset);
  },
};

const noContent = (request: UploadRequest, upload: Snapshot) =>
  new Response(null, { status: 204, headers: { ...progress(upload), ...request.resultHeaders(upload) } });

/** `offset` is the one in the request. */
function rejection(
  outcome: RejectedOutcome,
  headers = outcome.is === "rejected" ? progress(outcome.upload) : {},
  offset = 0,
): Problem {
  if (outcome.is === "wrong-digest") return digestMismatch(outcome.header, headers);
  const { reason, upload } = outcome;
  switch (reason) {
    case "complete": {
      const detailed = offset === upload.offset ? "beyond-length" : "offset-mismatch";
      return rejection({ ...outcome, reason: detailed }, headers);
    }
    case "offset-mismatch":
      return new Problem("mismatching-upload-offset", `The upload is at byte ${upload.offset}.`, { headers });
    case "length-conflict": {
      const detail = "Upload-Length differs from an earlier one, or is less than what has arrived.";
      return new Problem("malformed", detail, { headers });
    }
    case "beyond-length": {
      const detail = `The upload has ${upload.length} bytes, and these go beyond its end.`;
      return new Problem("too-large", detail, { headers });
    }
    case "wrong-checksum": {
      const detail = "The bytes do not match Upload-Checksum; none of them was kept.";
      return new Problem("checksum-mismatch", detail, { headers });
    }
    case "final":
    case "too-large":
    case "interrupted":
    case "preempted":
      return commonRejection(reason, headers);
  }
}

function checkVersion({ headers }: UploadRequest): void {
  const version = headers.get("Tus-Resumable");
  if (version === TUS_VERSION) return;
  throw new Problem(
    "unsupported-version",
    `This server speaks tus ${TUS_VERSION}; send that in Tus-Resumable.`,
    {
      headers: { "Tus-Version": TUS_VERSION },
    },
  );
}

function readLength({ headers }: UploadRequest): number | null {
  const length = readSize(headers, "Upload-Length");
  const defer = headers.get("Upload-Defer-Length");
  if (defer !== null && defer !== "1") throw malformed("Upload-Defer-Length can only be 1.");
  if ((length === null) === (defer === null)) {
    throw malformed("Send the length of the upload in Upload-Length, or Upload-Defer-Length: 1.");
  }
  return length;
}

/** `Upload-Concat: partial`, or `final;` and the URLs of the partial uploads in their order, absolute or relative. */
function readConcat({
  headers,
  idOf,
}: UploadRequest): Pick<Snapshot, "kind" | "concat"> & { sources: string[] } {
  const concat = headers.get("Upload-Concat");
  if (concat === null) return { kind: "whole", concat, sources: [] };
  if (concat === "partial") return { kind: "partial", concat, sources: [] };
  const [, list = ""] = /^final; *(.*)$/.exec(concat) ?? [];
  const sources = list.split(" ").filter(Boolean).map(idOf);
  if (sources.length === 0)
    throw malformed("Upload-Concat is neither partial nor final with the URLs of uploads.");
  if (headers.has("Upload-Length"))
    throw malformed("The length of a final upload follows from its partial uploads: send no Upload-Length.");
  return { kind: "final", concat, sources };
}

const hasTusMediaType = ({ headers }: Pick<UploadRequest, "headers">) =>
  headers.get("Content-Type")?.toLowerCase() === TUS_MEDIA_TYPE;

/** The bytes in a creation. An upload of no bytes is complete with its creation. */
function readFirstChunk(request: UploadRequest, isFinal: boolean): Chunk | null {
  const isEmpty = request.contentLength === 0;
  if (isFinal && !isEmpty) throw malformed("A final upload is made of others and takes no bytes of its own.");
  if (!isEmpty && !hasTusMediaType(request)) {
    throw new Problem("unsupported-media", `Send bytes in the creation as ${TUS_MEDIA_TYPE}, or none.`, {
      headers: { "Accept-Post": TUS_MEDIA_TYPE },
    });
  }
  if (isEmpty && readSize(request.headers, "Upload-Length") !== 0) return null;
  const checksum = readTusChecksum(request.headers);
  return { offset: 0, length: null, isLast: false, endsAtLength: true, checksum };
}

function progress(upload: Snapshot): Record<string, string> {
  const isComplete = upload.phase === "complete";
  const headers: Record<string, string> = {};
  // A final upload has no offset until it is concatenated.
  if (isComplete || upload.kind !== "final") headers["Upload-Offset"] = String(upload.offset);
  if (!isComplete || upload.kind === "partial")
    headers["Upload-Expires"] = new Date(upload.expiresAtMs).toUTCString();
  return headers;
}

const malformed = (detail: string) => new Problem("malformed", detail);
