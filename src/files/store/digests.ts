/**
 * Digests that a client sends along, so that nothing but the bytes it meant is stored: `Content-Digest` and
 * `Repr-Digest` (RFC 9530), `Content-MD5` (RFC 1864), and `Upload-Checksum` (tus).
 */
import { createHash, type Hash } from "node:crypto";
import { type BareItem, parseDictionary } from "structured-headers";
import { Problem } from "../../kernel/problem.ts";
import { BASE64 } from "./headers.ts";

/** A digest that the bytes must have; `header` is where it was said. */
export interface Expected {
  algorithm: Algorithm;
  value: Uint8Array;
  header: string;
}

const LENGTHS = { sha256: 32, sha512: 64, sha1: 20, md5: 16 };
export type Algorithm = keyof typeof LENGTHS;

/** The names in RFC 9530 of what is safe against an attacker; others it has are ignored, as its §3 says. */
const RFC_9530: Record<string, Algorithm> = { "sha-256": "sha256", "sha-512": "sha512" };
const TUS: Record<string, Algorithm> = { sha1: "sha1", sha256: "sha256", sha512: "sha512", md5: "md5" };

/** For `Tus-Checksum-Algorithm`. */
export const TUS_ALGORITHMS = Object.keys(TUS);

/**
 * All that the headers say of the content. Of a request without Content-Encoding and Content-Range, the content is
 * the representation, so both digests of RFC 9530 speak of the same bytes. Throws a `Problem` 400 at one that is
 * malformed.
 */
export function contentDigests(headers: Headers): Expected[] {
  return [
    ...rfc9530Digests(headers, "Content-Digest"),
    ...rfc9530Digests(headers, "Repr-Digest"),
    ...md5Digest(headers),
  ];
}

export function rfc9530Digests(headers: Headers, header: "Content-Digest" | "Repr-Digest"): Expected[] {
  const text = headers.get(header);
  if (text === null) return [];
  const expected: Expected[] = [];
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
    throw malformed(header, "it is no dictionary of structured fields (RFC 9651)");
  }
}

function md5Digest(headers: Headers): Expected[] {
  const text = headers.get("Content-MD5");
  if (text === null) return [];
  return [
    checkLength({ algorithm: "md5", value: base64("Content-MD5", text.trim()), header: "Content-MD5" }),
  ];
}

/** `Upload-Checksum: sha1 <base64>`. Throws a `Problem` 400 at an algorithm that is not in `TUS_ALGORITHMS`. */
export function tusChecksum(headers: Headers): Expected | null {
  const header = "Upload-Checksum";
  const text = headers.get(header);
  if (text === null) return null;
  const [name = "", value = "", ...rest] = text.split(" ");
  const algorithm = Object.hasOwn(TUS, name) ? TUS[name] : undefined;
  if (algorithm === undefined) {
    throw malformed(header, `its algorithm is none of ${TUS_ALGORITHMS.join(", ")}`);
  }
  if (rest.length > 0) throw malformed(header, "it is more than an algorithm and a digest");
  return checkLength({ algorithm, value: base64(header, value), header });
}

function base64(header: string, text: string): Uint8Array {
  if (!BASE64.test(text)) throw malformed(header, "its digest is not in base64");
  return Buffer.from(text, "base64");
}

function checkLength(expected: Expected): Expected {
  const { algorithm, value, header } = expected;
  if (value.length === LENGTHS[algorithm]) return expected;
  throw malformed(
    header,
    `a digest with ${algorithm} has ${LENGTHS[algorithm]} bytes, and this ${value.length}`,
  );
}

const malformed = (header: string, fault: string) =>
  new Problem("malformed", `The header ${header} cannot be used: ${fault}.`);

/** Hashes bytes with sha256, and with whatever else is expected, as they go by. */
export class Digests {
  readonly #expected: Expected[];
  readonly #hashes = new Map<Algorithm, Hash>();

  constructor(expected: Expected[], always: Algorithm[] = ["sha256"]) {
    this.#expected = expected;
    for (const algorithm of [...always, ...expected.map((digest) => digest.algorithm)]) {
      this.#hashes.set(algorithm, createHash(algorithm));
    }
  }

  update(bytes: Uint8Array): void {
    for (const hash of this.#hashes.values()) hash.update(bytes);
  }

  /** Ends it: the sha256, hexadecimal. Throws a `Problem` 400 if an expected digest is another. */
  finish(): string {
    const digests = new Map([...this.#hashes].map(([algorithm, hash]) => [algorithm, hash.digest()]));
    const wrong = this.#expected.find(({ algorithm, value }) => !digests.get(algorithm)?.equals(value));
    if (wrong) throw mismatch(wrong.header);
    return digests.get("sha256")?.toString("hex") ?? "";
  }
}

export function mismatch(header: string, headers: Record<string, string> = {}): Problem {
  const detail = `The bytes that came are not those of ${header}; send them again.`;
  return new Problem("digest-mismatch", detail, { headers });
}

/** `Repr-Digest` (RFC 9530 §3) of a stored file. */
export const reprDigest = (sha256: string) => `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
