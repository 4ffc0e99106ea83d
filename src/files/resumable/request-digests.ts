/** The digests that a request to /uploads sends, in either protocol: each of them is verified, or rejected. */
import { Problem } from "../../kernel/problem.ts";
import {
  Digests,
  digestMismatch,
  type ExpectedDigest,
  readDigestField,
  readMd5,
  readTusChecksum,
  rejectOtherDigests,
} from "../store/digests.ts";
import type { UploadSpec } from "./session-storage.ts";

/** Fields with digests of the bytes of one request: those of RFC 9530, RFC 1864 and tus. */
const OF_CONTENT = ["Content-Digest", "Content-MD5", "Upload-Checksum"];
/** The field with the digest of the whole, which the draft allows in a creation. */
const OF_WHOLE = "Repr-Digest";

/** Throws a `Problem` 400 for a digest that is malformed, or that cannot be verified. */
export function readContentDigests(headers: Headers, isCreation: boolean): ExpectedDigest[] {
  rejectOtherDigests(headers, isCreation ? [...OF_CONTENT, OF_WHOLE] : OF_CONTENT);
  const checksum = readTusChecksum(headers);
  const others = [...readDigestField(headers, "Content-Digest"), ...readMd5(headers)];
  return checksum ? [checksum, ...others] : others;
}

/** The digest of the whole. Its hash is carried along between requests, which only sha-256 can. */
export function readWholeDigest(headers: Headers): UploadSpec["expected"] {
  const [digest, ...rest] = readDigestField(headers, OF_WHOLE);
  if (!digest) return null;
  if (digest.algorithm === "sha256" && rest.length === 0) {
    return { sha256: Buffer.from(digest.value).toString("hex"), header: digest.header };
  }
  throw new Problem(
    "malformed",
    "A resumable upload as a whole is verified by sha-256: send that in Repr-Digest, and nothing else.",
  );
}

/** The bytes of one request do not match one of its digests. `Upload-Checksum` has a status of its own, from tus. */
export function wrongChunk(header: string, headers: Record<string, string> = {}): Problem {
  if (header !== "Upload-Checksum") return digestMismatch(header, headers);
  const detail = "The bytes do not match Upload-Checksum; none of them was kept.";
  return new Problem("checksum-mismatch", detail, { headers });
}

/** Throws that `Problem` if a request without bytes has the digest of some. */
export function checkNoContent(digests: ExpectedDigest[]): void {
  const { wrong } = new Digests(digests, []).end();
  if (wrong) throw wrongChunk(wrong.header);
}
