/**
 * Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), in the versions that clients speak:
 *
 *     interop 3       draft -01                    `Upload-Incomplete`
 *     interop 4, 5    drafts -02, -03              `Upload-Complete` instead
 *     interop 6       drafts -04, -05              `application/partial-upload`, `Upload-Limit`, problem types
 *     interop 7, 8    drafts -06 to -11            `max-age`; only a request that says so completes an upload
 *     interop 9, 10   drafts -12, -13              GET as well as HEAD
 *
 * Sections are those of draft -12. Up to version 6, an upload is also complete when it has the bytes that
 * `Upload-Length` announced. The drafts require an explicit `Upload-Complete`, but tus-js-client, which speaks 5 and 6,
 * often never sends it. If it comes later after all, it gets the same response as if it had completed the upload.
 *
 * Every response to a request on an upload describes its state, a rejection as well: then the client knows how to go
 * on. Workers cannot send 104 (Upload Resumption Supported), which servers may omit.
 */
import { Problem } from "../../kernel/problem.ts";
import { digestMismatch } from "../store/digests.ts";
import { readFilename } from "../store/names.ts";
import { readMetadata } from "../store/upload-headers.ts";
import {
  completeness,
  describeNone,
  describeUpload,
  hasPartialUpload,
  LATEST,
  PARTIAL_UPLOAD,
  readInteger,
  readIsLast,
  readVersion,
  versionOf,
} from "./ietf-fields.ts";
import { alreadyComplete, commonRejection, type Protocol, type RejectedOutcome } from "./protocol.ts";
import { wrongChunk } from "./request-digests.ts";
import type { Snapshot } from "./snapshot.ts";
import type { UploadRequest } from "./upload-request.ts";

/** Headers that a request without bytes must not have, up to version 6. */
const STRAY_HEADERS = ["Upload-Offset", "Upload-Complete", "Upload-Incomplete", "Upload-Length"];

export const ietf: Protocol = {
  name: "ietf",
  removesFile: false,

  async create(request) {
    const version = versionOf(request);
    const isLast = readIsLast(request, version);
    if (isLast === undefined) {
      throw malformed(
        `${completeness(version)} is missing, or is neither ?1 nor ?0: say whether this request has all bytes.`,
      );
    }
    if (request.headers.has("Upload-Offset")) throw malformed("A new upload has no Upload-Offset.");
    if (request.headers.has("Upload-Concat"))
      throw malformed("Only tus has Upload-Concat; send Tus-Resumable.");
    request.checkContentLength();
    const length = readInteger(request, "Upload-Length") ?? null;
    const end = isLast ? request.contentLength : null;
    if (length !== null && end !== null && length !== end) throw inconsistent();
    const totalLength = length ?? end;
    request.checkLength(totalLength);
    const metadata = request.headers.get("Upload-Metadata");
    const entries = readMetadata(metadata);
    const endsAtLength = version <= 6;
    const outcome = await request.create(
      {
        filename: readFilename(request.headers) ?? entries.get("filename"),
        contentType: hasPartialUpload(request)
          ? entries.get("filetype")
          : request.headers.get("Content-Type"),
        query: request.query,
      },
      {
        protocol: "ietf",
        kind: "whole",
        length: totalLength,
        endsAtLength,
        metadata,
        concat: null,
        sources: [],
      },
      { offset: 0, length: null, isLast, endsAtLength },
    );
    if (outcome.is === "accepted") return respond(request, version, outcome.upload, 201);
    // The upload is removed again, so the response describes none.
    throw rejection(request, outcome, 0, describeNone(request, version, outcome.is === "wrong-digest"));
  },

  check(request) {
    const version = versionOf(request);
    if (version > 6) return;
    const stray = STRAY_HEADERS.find((name) => request.headers.has(name));
    if (stray !== undefined) throw malformed(`${stray} is not allowed in this request.`);
  },

  describe(request, upload) {
    const version = versionOf(request);
    return new Headers({ ...describeUpload(request, version, upload), "Cache-Control": "no-store" });
  },

  async append(request, id) {
    const version = versionOf(request);
    const offset = readInteger(request, "Upload-Offset");
    if (offset === undefined) throw malformed("Upload-Offset is missing, or is not a number.");
    if (version >= 6 && !hasPartialUpload(request)) {
      throw new Problem("unsupported-media", `Send the bytes as ${PARTIAL_UPLOAD}.`, {
        headers: { "Accept-Patch": PARTIAL_UPLOAD },
      });
    }
    // If the header is missing, version 3 means yes and 4 to 6 mean no; from 7 on the header is required.
    const isLast = readIsLast(request, version) ?? (version >= 7 ? undefined : version === 3);
    if (isLast === undefined) throw malformed("Upload-Complete is missing, or is neither ?1 nor ?0.");
    request.checkContentLength();
    const length = readInteger(request, "Upload-Length") ?? null;
    request.checkLength(length);
    const chunk = { offset, length, isLast, endsAtLength: version <= 6 };
    const outcome = await request.append(id, chunk);
    if (outcome.is === "accepted") return respond(request, version, outcome.upload, version >= 7 ? 204 : 201);
    const complete = isLast && version <= 6 ? alreadyComplete(outcome, offset) : undefined;
    if (complete) return respond(request, version, complete, 201);
    // More bytes than the upload has: from version 7 on, the upload is then invalid (§4.4.2).
    if (version >= 7 && outcome.is === "rejected" && outcome.reason === "beyond-length")
      await request.remove(id, false);
    // After a wrong digest of the whole there is no upload any longer, but all its bytes had arrived (§4.4.1).
    const headers =
      outcome.is === "wrong-digest"
        ? describeNone(request, version, true)
        : describeUpload(request, version, outcome.upload);
    throw rejection(request, outcome, offset, headers);
  },

  stateOf: (request, upload) => {
    const version = readVersion(request) ?? LATEST;
    return upload ? describeUpload(request, version, upload) : describeNone(request, version, false);
  },
};

/** `status` is for an upload that is still incomplete. A complete one gets a 200, or up to version 6 a 201. */
function respond(request: UploadRequest, version: number, upload: Snapshot, status: 201 | 204): Response {
  const headers = { ...describeUpload(request, version, upload), Location: request.urlOf(upload.id) };
  if (upload.phase !== "complete") return new Response(null, { status, headers });
  return Response.json(request.resultOf(upload), { status: status === 204 ? 200 : 201, headers });
}

/** `offset` is the one in the request. */
function rejection(
  request: UploadRequest,
  outcome: RejectedOutcome,
  offset: number,
  headers: Record<string, string>,
): Problem {
  if (outcome.is === "wrong-digest") return digestMismatch(outcome.header, headers);
  if (outcome.is === "wrong-chunk") return wrongChunk(outcome.header, headers);
  const { reason, upload, isEmpty } = outcome;
  switch (reason) {
    case "complete":
      if (versionOf(request) <= 6)
        return new Problem("completed-upload", "The upload is complete.", { headers });
      return isEmpty
        ? new Problem("upload-gone", "The upload is complete.", { headers })
        : inconsistent(headers);
    case "offset-mismatch":
      return new Problem("mismatching-upload-offset", `The upload is at byte ${upload.offset}.`, {
        headers,
        members: { "expected-offset": upload.offset, "provided-offset": offset },
      });
    case "length-conflict":
    case "beyond-length":
      return inconsistent(headers);
    case "final":
    case "too-large":
    case "content-too-large":
    case "interrupted":
    case "preempted":
      return commonRejection(request, reason, headers);
  }
}

const inconsistent = (headers: Record<string, string> = {}) =>
  new Problem(
    "inconsistent-upload-length",
    "The length of the upload does not match what was sent or announced before.",
    { headers },
  );

const malformed = (detail: string) => new Problem("malformed", detail);
