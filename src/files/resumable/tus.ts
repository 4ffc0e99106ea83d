/**
 * tus 1.0.0 (https://tus.io/protocols/resumable-upload): the core protocol, and the extensions creation,
 * creation-with-upload, creation-defer-length, expiration, checksum, termination, concatenation and
 * concatenation-unfinished.
 */
import { Problem } from "../../kernel/problem.ts";
import { digestMismatch, TUS_ALGORITHMS } from "../store/digests.ts";
import { essenceOf } from "../store/media-type.ts";
import { readMetadata, readSize } from "../store/upload-headers.ts";
import { MAX_SOURCES } from "./concatenation.ts";
import { alreadyComplete, commonRejection, type Protocol, type RejectedOutcome } from "./protocol.ts";
import { wrongChunk } from "./request-digests.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Chunk, UploadRequest } from "./upload-request.ts";
import { uploadIdSchema } from "./upload-spec.ts";

export const TUS_VERSION = "1.0.0";
export const TUS_MEDIA_TYPE = "application/offset+octet-stream";

/** The capabilities of this server, for OPTIONS. */
export const tusOptions = (maxBytes: number): Record<string, string> => ({
  "Tus-Resumable": TUS_VERSION,
  "Tus-Version": TUS_VERSION,
  "Tus-Extension":
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation," +
    "concatenation-unfinished",
  "Tus-Max-Size": String(maxBytes),
  "Tus-Checksum-Algorithm": TUS_ALGORITHMS.join(","),
});

/** Headers that only tus has, besides that of its version. The draft has `Upload-Length` too. */
export const TUS_HEADERS = [
  "Upload-Length",
  "Upload-Defer-Length",
  "Upload-Metadata",
  "Upload-Concat",
  "Upload-Checksum",
];

export const tus: Protocol = {
  name: "tus",
  removesFile: true,

  async create(request) {
    checkVersion(request);
    request.checkContentLength();
    const concat = readConcat(request);
    const metadata = request.headers.get("Upload-Metadata");
    const entries = readMetadata(metadata);
    const length = concat.kind === "final" ? null : readLength(request);
    request.checkLength(length);
    const outcome = await request.create(
      {
        filename: entries.get("filename") ?? entries.get("name"),
        contentType: entries.get("filetype") ?? entries.get("type"),
        query: { ...request.query, ...Object.fromEntries(entries) },
      },
      { protocol: "tus", ...concat, length, endsAtLength: true, metadata },
      await readFirstChunk(request, concat.kind === "final"),
    );
    // The upload is removed again, so the response describes no progress.
    if (outcome.is !== "accepted") throw rejection(request, outcome, {});
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
      "Tus-Resumable": TUS_VERSION,
      ...progress(upload),
      ...request.resultHeaders(upload),
      "Cache-Control": "no-store",
    });
    if (upload.length !== null) headers.set("Upload-Length", String(upload.length));
    // That of a final upload comes from its partials, not from the client.
    else if (upload.kind !== "final") headers.set("Upload-Defer-Length", "1");
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
    request.checkContentLength();
    const offset = readSize(request.headers, "Upload-Offset");
    if (offset === null) throw malformed("The header Upload-Offset is missing.");
    const length = readSize(request.headers, "Upload-Length");
    request.checkLength(length);
    const chunk = { offset, length, isLast: false, endsAtLength: true };
    const outcome = await request.append(id, chunk);
    if (outcome.is === "accepted") return noContent(request, outcome.upload);
    const complete = alreadyComplete(outcome, offset);
    if (complete) return noContent(request, complete);
    throw rejection(request, outcome, undefined, offset);
  },

  // Upload-Expires must be in every response to a PATCH (expiration).
  stateOf: (_request, upload) => (upload ? progress(upload) : {}),
};

const noContent = (request: UploadRequest, upload: Snapshot) =>
  new Response(null, { status: 204, headers: { ...progress(upload), ...request.resultHeaders(upload) } });

/** `offset` is the one in the request. */
function rejection(
  request: UploadRequest,
  outcome: RejectedOutcome,
  headers = outcome.is === "wrong-digest" ? {} : progress(outcome.upload),
  offset = 0,
): Problem {
  if (outcome.is === "wrong-digest") return digestMismatch(outcome.header, headers);
  if (outcome.is === "wrong-chunk") return wrongChunk(outcome.header, headers);
  const { reason, upload } = outcome;
  switch (reason) {
    case "complete": {
      const detailed = offset === upload.offset ? "beyond-length" : "offset-mismatch";
      return rejection(request, { ...outcome, reason: detailed }, headers);
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
    case "final":
    case "too-large":
    case "content-too-large":
    case "interrupted":
    case "preempted":
      return commonRejection(request, reason, headers);
  }
}

function checkVersion({ headers }: UploadRequest): void {
  if (headers.get("Tus-Resumable") === TUS_VERSION) return;
  throw new Problem(
    "unsupported-version",
    `This is an upload in tus: this server speaks version ${TUS_VERSION}; send that in Tus-Resumable.`,
    { headers: { "Tus-Resumable": TUS_VERSION, "Tus-Version": TUS_VERSION } },
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
  url,
}: UploadRequest): Pick<Snapshot, "kind" | "concat"> & { sources: string[] } {
  const concat = headers.get("Upload-Concat");
  if (concat === null) return { kind: "whole", concat, sources: [] };
  if (concat === "partial") return { kind: "partial", concat, sources: [] };
  const urls = concat.startsWith(FINAL) ? concat.slice(FINAL.length).split(" ").filter(Boolean) : [];
  if (urls.length === 0)
    throw malformed("Upload-Concat is neither partial nor final with the URLs of uploads.");
  if (urls.length > MAX_SOURCES)
    throw new Problem("too-large", `A final upload can be made of at most ${MAX_SOURCES} others here.`);
  const sources = urls.map((source) => idOf(source, url));
  if (new Set(sources).size < sources.length)
    throw malformed("Upload-Concat has a partial upload more than once; it can be used only once in each.");
  if (headers.has("Upload-Length"))
    throw malformed("The length of a final upload follows from its partial uploads: send no Upload-Length.");
  return { kind: "final", concat, sources };
}

const FINAL = "final;";

/** The id in the URL of an upload here, which may be relative to that of the request. Throws a `Problem` 400. */
function idOf(text: string, base: string): string {
  const url = URL.canParse(text, base) ? new URL(text, base) : undefined;
  const [, id] = /^\/uploads\/([^/]+)\/?$/.exec(url?.pathname ?? "") ?? [];
  // By name and port only: something in front of the Worker may have ended TLS.
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (isHttp && url.host === new URL(base).host && uploadIdSchema.safeParse(id).success) return id ?? "";
  throw malformed("Upload-Concat has something that is not the URL of an upload of this server.");
}

export const hasTusMediaType = ({ headers }: Pick<UploadRequest, "headers">) =>
  essenceOf(headers.get("Content-Type") ?? "") === TUS_MEDIA_TYPE;

/** The bytes in a creation; null if it has none, and the upload needs some. */
async function readFirstChunk(request: UploadRequest, isFinal: boolean): Promise<Chunk | null> {
  const isEmpty =
    request.contentLength === 0 || ((isFinal || !hasTusMediaType(request)) && (await request.isEmpty()));
  if (isFinal && !isEmpty) throw malformed("A final upload is made of others and takes no bytes of its own.");
  if (!isEmpty && !hasTusMediaType(request)) {
    throw new Problem("unsupported-media", `Send bytes in the creation as ${TUS_MEDIA_TYPE}, or none.`, {
      headers: { "Accept-Post": TUS_MEDIA_TYPE },
    });
  }
  // An upload of no bytes is complete with its creation.
  if (isEmpty && readSize(request.headers, "Upload-Length") !== 0) return null;
  return { offset: 0, length: null, isLast: false, endsAtLength: true };
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
