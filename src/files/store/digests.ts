/**
 * Digests that a client sends with its bytes, so that only the bytes it meant are stored: `Content-Digest` and
 * `Repr-Digest` (RFC 9530), `Content-MD5` (RFC 1864), and `Upload-Checksum` (tus).
 */
import { createHash, type Hash } from "node:crypto";
import { type BareItem, parseDictionary } from "structured-headers";
import { Problem } from "../../kernel/problem.ts";
import { BASE64 } from "./upload-headers.ts";

/** A digest that the bytes must have; `header` is the field it came in. */
export interface ExpectedDigest {
  algorithm: Algorithm;
  value: Uint8Array;
  header: string;
}

/** In bytes. */
const LENGTHS = { sha256: 32, sha512: 64, sha1: 20, md5: 16 };
export type Algorithm = keyof typeof LENGTHS;

/** The algorithms of RFC 9530 that withstand an attacker; all others are ignored, as its §3 allows. */
const RFC_9530: Record<string, Algorithm> = { "sha-256": "sha256", "sha-512": "sha512" };
const TUS: Record<string, Algorithm> = { sha1: "sha1", sha256: "sha256", sha512: "sha512", md5: "md5" };

/** For `Tus-Checksum-Algorithm`. */
export const TUS_ALGORITHMS = Object.keys(TUS);

/**
 * All digests that the headers give for the content. Without Content-Encoding and Content-Range, the content of a
 * request is the representation, so both digests of RFC 9530 are for the same bytes. Throws a `Problem` 400 if one is
 * malformed.
 */
export function readContentDigests(headers: Headers): ExpectedDigest[] {
  return [
    ...readDigestField(headers, "Content-Digest"),
    ...readDigestField(headers, "Repr-Digest"),
    ...md5Digest(headers),
  ];
}

export function readDigestField(
  headers: Headers,
  header: "Content-Digest" | "Repr-Digest",
): ExpectedDigest[] {
  const text = headers.get(header);
  if (text === null) return [];
  const expected: ExpectedDigest[] = [];
  for (const [name, [value]] of readDictionary(header, text)) {
    const algorithm = Object.hasOwn(RFC_9530, name) ? RFC_9530[name] : undefined;
    if (algorithm === undefined) continue;
    if (!(value instanceof ArrayBuffer)) throw malformed(header, `${name} is not a byte sequence (:…:)`);
    expected.push(checkLength({ algorithm, value: new Uint8Array(value), header }));
  }
  return expected;
}

function readDictionary(header: string, text: string): Iterable<[string, [unknown, Map<string, BareItem>]]> {
  try {
    return parseDictionary(text);
  } catch {
    throw malformed(header, "it is not a dictionary of structured fields (RFC 9651)");
  }
}

function md5Digest(headers: Headers): ExpectedDigest[] {
  const text = headers.get("Content-MD5");
  if (text === null) return [];
  return [
    checkLength({ algorithm: "md5", value: base64("Content-MD5", text.trim()), header: "Content-MD5" }),
  ];
}

/** `Upload-Checksum: sha1 <base64>`. Throws a `Problem` 400 if the algorithm is not in `TUS_ALGORITHMS`. */
export function readTusChecksum(headers: Headers): ExpectedDigest | null {
  const header = "Upload-Checksum";
  const text = headers.get(header);
  if (text === null) return null;
  const [name = "", value = "", ...rest] = text.split(" ");
  const algorithm = Object.hasOwn(TUS, name) ? TUS[name] : undefined;
  if (algorithm === undefined) {
    throw malformed(header, `its algorithm is not one of ${TUS_ALGORITHMS.join(", ")}`);
  }
  if (rest.length > 0) throw malformed(header, "it has more than an algorithm and a digest");
  return checkLength({ algorithm, value: base64(header, value), header });
}

function base64(header: string, text: string): Uint8Array {
  if (!BASE64.test(text)) throw malformed(header, "its digest is not in base64");
  return Buffer.from(text, "base64");
}

function checkLength(expected: ExpectedDigest): ExpectedDigest {
  const { algorithm, value, header } = expected;
  if (value.length === LENGTHS[algorithm]) return expected;
  throw malformed(
    header,
    `a ${algorithm} digest has ${LENGTHS[algorithm]} bytes, but this one has ${value.length}`,
  );
}

const malformed = (header: string, reason: string) =>
  new Problem("malformed", `The header ${header} cannot be used: ${reason}.`);

/** Hashes a stream of bytes with sha256 and with every algorithm that a digest is expected for. */
export class Digests {
  readonly #expected: ExpectedDigest[];
  readonly #hashes = new Map<Algorithm, Hash>();

  constructor(expected: ExpectedDigest[], always: Algorithm[] = ["sha256"]) {
    this.#expected = expected;
    for (const algorithm of [...always, ...expected.map((digest) => digest.algorithm)]) {
      this.#hashes.set(algorithm, createHash(algorithm));
    }
  }

  update(bytes: Uint8Array): void {
    for (const hash of this.#hashes.values()) hash.update(bytes);
  }

  /** Ends the hashing and returns the sha256, hexadecimal. Throws a `Problem` 400 if an expected digest differs. */
  finish(): string {
    const digests = new Map([...this.#hashes].map(([algorithm, hash]) => [algorithm, hash.digest()]));
    const wrong = this.#expected.find(({ algorithm, value }) => !digests.get(algorithm)?.equals(value));
    if (wrong) throw digestMismatch(wrong.header);
    return digests.get("sha256")?.toString("hex") ?? "";
  }
}

export function digestMismatch(header: string, headers: Record<string, string> = {}): Problem {
  const detail = `The received bytes do not match ${header}; send them again.`;
  return new Problem("digest-mismatch", detail, { headers });
}

/** `Repr-Digest` (RFC 9530 §3) of a stored file. */
export const reprDigest = (sha256: string) => `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
