/** The encodings and digests that a part of a valid form may have. */
import { createHash } from "node:crypto";
import { encodeQuotedPrintable } from "../../support/quoted-printable.ts";
import type { Random } from "../random.ts";

/** A charset, and a text as its bytes (in latin1) and as its characters. */
export interface FormCharset {
  label: string;
  bytes: string;
  name: string;
}

export const CHARSETS: readonly [FormCharset, ...FormCharset[]] = [
  { label: "iso-8859-1", bytes: "caf\xe9", name: "café" },
  { label: "windows-1252", bytes: "\x80 5", name: "€ 5" },
  { label: "ISO-8859-15", bytes: "\xa4 5", name: "€ 5" },
  { label: "koi8-r", bytes: "\xc4\xc1", name: "да" },
  { label: "Shift_JIS", bytes: "\x83\x5c", name: "ソ" },
  { label: "gbk", bytes: "\xc4\xe3", name: "你" },
  { label: "utf-8", bytes: "\xe5\xad\x97", name: "字" },
];

/** The body of a part, in one of the transfer encodings of RFC 2045 §6, or in none. */
export function encodeTransfer(random: Random, bytes: Buffer): { encoding?: string; body: Buffer } {
  if (random.chance(0.8)) return { body: bytes };
  switch (random.between(0, 3)) {
    case 0:
      return {
        encoding: "base64",
        body: Buffer.from(bytes.toString("base64").replaceAll(/.{76}/g, "$&\r\n")),
      };
    case 1:
      return { encoding: "Quoted-Printable", body: Buffer.from(encodeQuotedPrintable(bytes)) };
    case 2:
      return { encoding: "8bit", body: bytes };
    default:
      return { encoding: "BINARY", body: bytes };
  }
}

/** A header field with the digest of the bytes. */
export function digestLine(random: Random, bytes: Buffer): string {
  const digest = (algorithm: string) => createHash(algorithm).update(bytes).digest("base64");
  const field = random.chance(0.5) ? "Content-Digest" : "Repr-Digest";
  switch (random.between(0, 2)) {
    case 0:
      return `Content-MD5: ${digest("md5")}`;
    case 1:
      return `${field}: sha-256=:${digest("sha256")}:`;
    default:
      return `${field}: sha-512=:${digest("sha512")}:, md5=:${digest("md5")}:`;
  }
}
