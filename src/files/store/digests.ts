/**
 * Digests that a client sends with its bytes, so that only the bytes it meant are stored: `Content-Digest` and
 * `Repr-Digest` (RFC 9530), `Content-MD5` (RFC 1864), and `Upload-Checksum` (tus).
 *
 * Every digest that is sent is checked, wherever it stands, or a 400 says that it cannot be checked there: a client that
 * sends one believes that it is. So whoever reads a header, of a request or of a part of a form, names the fields that
 * it checks, and rejects all others by `rejectOtherDigests`. RFC 9530 §2 would let a recipient ignore them.
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

/** The header of a request, or of a part of a form. */
export interface HeaderFields {
  get(name: string): string | null;
  /** The names, in lower case. */
  keys(): Iterable<string>;
}

/** In bytes. */
const LENGTHS = { sha256: 32, sha512: 64, sha1: 20, md5: 16 };
export type Algorithm = keyof typeof LENGTHS;

/**
 * The algorithms of RFC 9530 that can be checked. `sha` and `md5` do not withstand an attacker, but whoever sends one is
 * protected from a broken network as by `Content-MD5`.
 */
const RFC_9530: Record<string, Algorithm> = {
  "sha-256": "sha256",
  "sha-512": "sha512",
  sha: "sha1",
  md5: "md5",
};
const TUS: Record<string, Algorithm> = { sha1: "sha1", sha256: "sha256", sha512: "sha512", md5: "md5" };

/** For `Tus-Checksum-Algorithm`. */
export const TUS_ALGORITHMS = Object.keys(TUS);

/** The fields whose digests are for the bytes of this very message. */
export const CONTENT_DIGESTS = ["Content-Digest", "Repr-Digest", "Content-MD5"];

/**
 * Fields that have the digest of something: the standard ones, and those of other file servers, such as `X-Goog-Hash`,
 * `OC-Checksum` and `x-amz-content-sha256`. Known by the words in their names, because everybody makes up another.
 */
const DIGEST_FIELD =
  /(?:^|-)(?:digest|checksum|md5|sha-?(?:1|256|384|512)|crc-?(?:32c?|64(?:nvme)?)|(?:content|file|goog)-hash)(?:-|$)/;
/** What has such a word and is no digest: a wish (RFC 9530 §4), the name of an algorithm, or a signature. */
const NO_DIGEST = /^want-|(?:algorithm|mode|type)$|hmac|signature/;

const isDigestField = (name: string) => DIGEST_FIELD.test(name) && !NO_DIGEST.test(name);

/**
 * Throws a `Problem` 400 for any digest that is in none of the `checked` fields, and for one that is announced for the
 * trailer, which the platform does not pass on. The local runtime does not pass on the announcement either.
 */
export function rejectOtherDigests(headers: HeaderFields, checked: readonly string[]): void {
  const isChecked = (name: string) => checked.some((field) => field.toLowerCase() === name);
  for (const name of headers.keys()) {
    if (!isDigestField(name) || isChecked(name)) continue;
    throw malformed(name, `no digest is checked there; send it in ${checked.join(" or ")}`);
  }
  const inTrailer = (headers.get("Trailer") ?? "").split(",").map((name) => name.trim().toLowerCase());
  if (inTrailer.some(isDigestField))
    throw malformed("Trailer", "a digest is checked only if it is sent before the bytes");
}

/**
 * All digests that the header gives for the bytes after it, for a message that is a whole file or form. Without
 * Content-Encoding and Content-Range, its content is the representation, so both digests of RFC 9530 are for the same
 * bytes. Throws a `Problem` 400 for a digest that is malformed or cannot be checked.
 */
export function readContentDigests(headers: HeaderFields): ExpectedDigest[] {
  rejectOtherDigests(headers, CONTENT_DIGESTS);
  return [
    ...readDigestField(headers, "Content-Digest"),
    ...readDigestField(headers, "Repr-Digest"),
    ...readMd5(headers),
  ];
}

/** All digests of one field. Throws a `Problem` 400 if one is malformed, or of an algorithm that is not known. */
export function readDigestField(
  headers: HeaderFields,
  header: "Content-Digest" | "Repr-Digest",
): ExpectedDigest[] {
  const text = headers.get(header);
  if (text === null) return [];
  const expected: ExpectedDigest[] = [];
  for (const [name, [value]] of readDictionary(header, text)) {
    const algorithm = Object.hasOwn(RFC_9530, name) ? RFC_9530[name] : undefined;
    if (algorithm === undefined) {
      throw malformed(header, `${name} is not one of ${Object.keys(RFC_9530).join(", ")}`);
    }
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

/** `Content-MD5`, if there is one. Throws a `Problem` 400 if it is malformed. */
export function readMd5(headers: HeaderFields): ExpectedDigest[] {
  const header = "Content-MD5";
  const text = headers.get(header);
  if (text === null) return [];
  return [checkLength({ algorithm: "md5", value: base64(header, text.trim()), header })];
}

/**
 * `Upload-Checksum: sha1 <base64>`. Throws a `Problem` 400 if the algorithm is not in `TUS_ALGORITHMS`. A digest of the
 * wrong length is not malformed: no bytes match it.
 */
export function readTusChecksum(headers: HeaderFields): ExpectedDigest | null {
  const header = "Upload-Checksum";
  const text = headers.get(header);
  if (text === null) return null;
  const [name = "", value = "", ...rest] = text.split(" ");
  const algorithm = Object.hasOwn(TUS, name) ? TUS[name] : undefined;
  if (algorithm === undefined) {
    throw malformed(header, `its algorithm is not one of ${TUS_ALGORITHMS.join(", ")}`);
  }
  if (rest.length > 0 || value === "") throw malformed(header, "it is not an algorithm and a digest");
  return { algorithm, value: base64(header, value), header };
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
    const { sha256, wrong } = this.end();
    if (wrong) throw digestMismatch(wrong.header);
    return sha256;
  }

  /** Ends the hashing: the sha256, hexadecimal, if it was asked for, and an expected digest that differs, if any. */
  end(): { sha256: string; wrong: ExpectedDigest | undefined } {
    const digests = new Map([...this.#hashes].map(([algorithm, hash]) => [algorithm, hash.digest()]));
    const wrong = this.#expected.find(({ algorithm, value }) => !digests.get(algorithm)?.equals(value));
    return { sha256: digests.get("sha256")?.toString("hex") ?? "", wrong };
  }
}

/** Passes the chunks on, and rejects with a `Problem` 400 after the last one if they do not have the expected digests. */
export async function* verifyDigests(
  chunks: AsyncIterable<Uint8Array>,
  expected: ExpectedDigest[],
): AsyncGenerator<Uint8Array> {
  const digests = new Digests(expected, []);
  for await (const chunk of chunks) {
    digests.update(chunk);
    yield chunk;
  }
  digests.finish();
}

export function digestMismatch(header: string, headers: Record<string, string> = {}): Problem {
  const detail = `The received bytes do not match ${header}; send them again.`;
  return new Problem("digest-mismatch", detail, { headers });
}

/** `Repr-Digest` (RFC 9530 §3) of a stored file. */
export const reprDigest = (sha256: string) => `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
