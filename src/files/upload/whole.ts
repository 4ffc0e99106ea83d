/**
 * A request to these routes brings a whole file or form. Clients that send pieces say so in many ways, and a piece must
 * not be taken for the whole (RFC 9110 §14.5).
 */
import { Problem } from "../../kernel/problem.ts";
import type { HeaderFields } from "../store/digests.ts";
import { essenceOf } from "../store/media-type.ts";

/** Media types of a piece of a file, or of several pieces. */
const PARTIAL_TYPES = new Set([
  "application/partial-upload",
  "application/offset+octet-stream",
  "multipart/byteranges",
]);

/** Throws a `Problem` 400 or 415 if the bytes after this header are, or may be, a part of something larger. */
export function rejectPieces(headers: HeaderFields): void {
  const field = pieceField(headers);
  if (field !== undefined) {
    throw new Problem(
      "malformed",
      `This stores a whole file, and ${field} says that these bytes are a part of one; to send it in pieces, use ` +
        "/uploads.",
    );
  }
  const type = essenceOf(headers.get("Content-Type") ?? "");
  if (PARTIAL_TYPES.has(type)) {
    throw new Problem(
      "unsupported-media",
      `This stores a whole file, not a part of one (${type}); use /uploads.`,
    );
  }
}

/** The header field that says so. */
function pieceField(headers: HeaderFields): string | undefined {
  if (headers.get("Content-Range") !== null) return "Content-Range";
  const offset = headers.get("Upload-Offset");
  if (offset !== null && !/^0+$/.test(offset)) return "Upload-Offset";
  // Booleans of structured fields. In the first versions of the draft, the field said the opposite.
  const complete = headers.get("Upload-Complete");
  if (complete !== null && !/^\?1(?:;|$)/.test(complete)) return "Upload-Complete";
  const incomplete = headers.get("Upload-Incomplete");
  if (incomplete !== null && !/^\?0(?:;|$)/.test(incomplete)) return "Upload-Incomplete";
  const length = headers.get("Upload-Length");
  return length !== null && length !== headers.get("Content-Length") ? "Upload-Length" : undefined;
}
