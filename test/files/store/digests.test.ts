import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CONTENT_DIGESTS,
  Digests,
  digestMismatch,
  readContentDigests,
  readDigestField,
  readTusChecksum,
  rejectOtherDigests,
  reprDigest,
  TUS_ALGORITHMS,
} from "../../../src/files/store/digests.ts";
import { Problem } from "../../../src/kernel/problem.ts";

const HELLO = new TextEncoder().encode("hello");
const base64 = (algorithm: string) => createHash(algorithm).update(HELLO).digest("base64");
const [SHA256, SHA512, SHA1, MD5] = [base64("sha256"), base64("sha512"), base64("sha1"), base64("md5")];

/** What was thrown; it must be a problem. */
function problemOf(action: () => unknown): { kind: string; detail: string } {
  try {
    action();
  } catch (error) {
    if (error instanceof Problem) return { kind: error.kind, detail: error.detail };
    throw error;
  }
  throw new Error("nothing was thrown");
}

const read = (headers: Record<string, string>) =>
  readContentDigests(new Headers(headers)).map(({ algorithm, header }) => [header, algorithm]);

describe("the digests of a request", () => {
  test.each<[string, Record<string, string>, string[][]]>([
    ["none", {}, []],
    ["sha-256", { "Content-Digest": `sha-256=:${SHA256}:` }, [["Content-Digest", "sha256"]]],
    ["sha-512", { "Repr-Digest": `sha-512=:${SHA512}:` }, [["Repr-Digest", "sha512"]]],
    [
      "two in one header, and parameters that mean nothing",
      { "Content-Digest": `sha-256=:${SHA256}:;a=1, sha-512=:${SHA512}:` },
      [
        ["Content-Digest", "sha256"],
        ["Content-Digest", "sha512"],
      ],
    ],
    [
      "in all headers",
      {
        "Content-Digest": `sha-256=:${SHA256}:`,
        "Repr-Digest": `sha-256=:${SHA256}:`,
        "Content-MD5": ` ${MD5} `,
      },
      [
        ["Content-Digest", "sha256"],
        ["Repr-Digest", "sha256"],
        ["Content-MD5", "md5"],
      ],
    ],
    [
      "the old algorithms",
      { "Repr-Digest": `md5=:${MD5}:, sha=:${SHA1}:` },
      [
        ["Repr-Digest", "md5"],
        ["Repr-Digest", "sha1"],
      ],
    ],
    ["an empty header", { "Repr-Digest": "" }, []],
    ["wishes, which are no digests", { "Want-Content-Digest": "sha-256=1", "Want-Repr-Digest": "md5=1" }, []],
    ["a trailer that has something else", { Trailer: "Expires, X-Checked" }, []],
  ])("%s", (_name, headers, expected) => {
    expect(read(headers)).toEqual(expected);
  });

  test.each<[string, Record<string, string>]>([
    ["not a dictionary", { "Content-Digest": "sha-256=:" }],
    ["not a dictionary, the other header", { "Repr-Digest": "=" }],
    ["the old syntax of RFC 3230", { "Content-Digest": `SHA-256=${SHA256}` }],
    ["a string instead of bytes", { "Content-Digest": `sha-256="${SHA256}"` }],
    ["a flag instead of bytes", { "Content-Digest": "sha-256" }],
    ["a list instead of bytes", { "Content-Digest": `sha-256=(:${SHA256}:)` }],
    ["too short", { "Content-Digest": "sha-256=:AAAA:" }],
    ["of another length", { "Repr-Digest": `sha-512=:${SHA256}:` }],
    ["empty", { "Repr-Digest": "sha-256=::" }],
    ["not base64", { "Content-MD5": "not base64!" }],
    ["hexadecimal", { "Content-MD5": createHash("md5").update(HELLO).digest("hex") }],
    ["empty, of MD5", { "Content-MD5": "" }],
    // What cannot be checked is not ignored.
    ["of an unknown algorithm", { "Content-Digest": "crc32c=:AAAAAA==:" }],
    ["of an unknown algorithm beside a good one", { "Repr-Digest": `sha-256=:${SHA256}:, blake3=:AAAA:` }],
    ["of an algorithm without a value", { "Repr-Digest": "sha-384" }],
    ["of an algorithm that is a property of every object", { "Repr-Digest": `constructor=:${SHA256}:` }],
    ["in the old header of RFC 3230", { digest: `sha-256=${SHA256}` }],
    ["in the header of tus", { "upload-checksum": `sha256 ${SHA256}` }],
    ["in the header of another server", { "x-checksum-sha256": createHash("sha256").digest("hex") }],
    ["in the header of S3", { "x-amz-checksum-crc32c": "AAAAAA==" }],
    ["in the header of Google Cloud Storage", { "x-goog-hash": `md5=${MD5}` }],
    ["in the hexadecimal one of S3", { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" }],
    ["in that of Backblaze", { "x-bz-content-sha1": createHash("sha1").digest("hex") }],
    ["in that of Azure", { "x-ms-blob-content-md5": MD5 }],
    ["in a CRC of Azure", { "x-ms-content-crc64": "AAAAAAAAAAA=" }],
    ["in that of ownCloud", { "oc-checksum": "MD5:0" }],
    ["in one that somebody made up", { "x-content-sha256": SHA256 }],
    ["in another", { "content-sha-512": SHA512 }],
    ["in a third", { "x-file-hash": SHA256 }],
    ["in the trailer", { Trailer: "Content-Digest" }],
    ["in the trailer, among others", { Trailer: "expires, content-md5" }],
  ])("%s is malformed, and the problem names the header", (_name, headers) => {
    const { kind, detail } = problemOf(() => read(headers));
    expect(kind).toBe("malformed");
    expect(detail).toContain(Object.keys(headers)[0]);
  });
});

test.each([
  "want-content-digest",
  "want-repr-digest",
  "want-digest",
  "x-amz-sdk-checksum-algorithm",
  "x-amz-checksum-mode",
  "x-hub-signature-256",
  "x-shopify-hmac-sha256",
  "x-request-id",
  "x-sharding",
  "cf-ray",
])("%s is no digest", (name) => {
  expect(read({ [name]: "x" })).toEqual([]);
});

test("Repr-Digest can be read on its own", () => {
  const headers = new Headers({ "Content-Digest": "?", "Repr-Digest": `sha-256=:${SHA256}:` });
  expect(readDigestField(headers, "Repr-Digest")).toEqual([
    { algorithm: "sha256", value: new Uint8Array(Buffer.from(SHA256, "base64")), header: "Repr-Digest" },
  ]);
});

describe("the checksum of tus", () => {
  test.each([
    [`sha1 ${SHA1}`, "sha1"],
    [`md5 ${MD5}`, "md5"],
    [`sha256 ${SHA256}`, "sha256"],
    [`sha512 ${SHA512}`, "sha512"],
  ])("%s", (header, algorithm) => {
    expect(readTusChecksum(new Headers({ "Upload-Checksum": header }))?.algorithm).toBe(algorithm);
    expect(TUS_ALGORITHMS).toContain(algorithm);
  });

  test.each([
    "",
    "sha1",
    "sha1 ",
    `crc32 ${SHA1}`,
    `constructor ${SHA1}`,
    `sha1  ${SHA1}`,
    `sha1 ${SHA1} x`,
    "sha1 ?",
  ])("%j is malformed", (header) => {
    const headers = new Headers({ "Upload-Checksum": header });
    expect(problemOf(() => readTusChecksum(headers)).kind).toBe("malformed");
  });

  test("may be missing", () => {
    expect(readTusChecksum(new Headers())).toBeNull();
  });

  test("of another length is one that no bytes match", () => {
    const checksum = readTusChecksum(new Headers({ "Upload-Checksum": `sha1 ${MD5}` }));
    const digests = new Digests(checksum ? [checksum] : []);
    digests.update(HELLO);
    expect(problemOf(() => digests.finish()).kind).toBe("digest-mismatch");
  });
});

test("whoever checks other fields names them, and the rest is rejected", () => {
  const headers = new Headers({ "Upload-Checksum": `sha1 ${SHA1}` });
  expect(() => rejectOtherDigests(headers, ["Upload-Checksum"])).not.toThrow();
  expect(problemOf(() => rejectOtherDigests(headers, CONTENT_DIGESTS)).detail).toBe(
    "The header upload-checksum cannot be used: no digest is checked there; send it in Content-Digest or " +
      "Repr-Digest or Content-MD5.",
  );
});

const expecting = (header: Record<string, string>) => new Digests(readContentDigests(new Headers(header)));

describe("hashing", () => {
  test.each<[Record<string, string>]>([
    [{}],
    [{ "Content-Digest": `sha-256=:${SHA256}:` }],
    [{ "Content-Digest": `sha-512=:${SHA512}:` }],
    [{ "Content-MD5": MD5 }],
    [{ "Repr-Digest": `sha-256=:${SHA256}:`, "Content-Digest": `sha-512=:${SHA512}:`, "Content-MD5": MD5 }],
  ])("%o: matching bytes get their sha256", (headers) => {
    const digests = expecting(headers);
    digests.update(HELLO.subarray(0, 2));
    digests.update(HELLO.subarray(2));
    expect(digests.finish()).toBe(createHash("sha256").update(HELLO).digest("hex"));
  });

  test.each<[Record<string, string>, string]>([
    [{ "Content-Digest": `sha-256=:${SHA256}:` }, "Content-Digest"],
    [{ "Repr-Digest": `sha-512=:${SHA512}:` }, "Repr-Digest"],
    [{ "Content-MD5": MD5 }, "Content-MD5"],
  ])("%o: the problem names the header that does not match", (headers, name) => {
    const digests = expecting(headers);
    digests.update(HELLO.subarray(1));
    const { kind, detail } = problemOf(() => digests.finish());
    expect(kind).toBe("digest-mismatch");
    expect(detail).toContain(name);
  });

  test("if there are several, all must match", () => {
    const wrong = createHash("sha512").update("other").digest("base64");
    const digests = expecting({ "Content-Digest": `sha-256=:${SHA256}:, sha-512=:${wrong}:` });
    digests.update(HELLO);
    expect(problemOf(() => digests.finish()).kind).toBe("digest-mismatch");
  });

  test("does not depend on how the bytes are split", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (chunks) => {
        const digests = new Digests([]);
        for (const chunk of chunks) digests.update(chunk);
        expect(digests.finish()).toBe(createHash("sha256").update(Buffer.concat(chunks)).digest("hex"));
      }),
    );
  });
});

test("a mismatch can carry the headers of a protocol", () => {
  expect(digestMismatch("X", { "X-Y": "1" }).options.headers).toEqual({ "X-Y": "1" });
});

test("the Repr-Digest of a file is the one in the example of RFC 9530", () => {
  // Appendix B.1: {"hello": "world"} and a line feed.
  const sha256 = createHash("sha256").update('{"hello": "world"}\n').digest("hex");
  expect(reprDigest(sha256)).toBe("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
});
