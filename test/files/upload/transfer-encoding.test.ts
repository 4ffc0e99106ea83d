/** Content-Transfer-Encoding: what is stored is what was encoded, or the form is rejected. */
import { reset } from "cloudflare:test";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { decodeTransfer } from "../../../src/files/upload/transfer-encoding.ts";
import { Problem } from "../../../src/kernel/problem.ts";
import { fetchText, postForm, sha256 } from "../../support/files.ts";
import { rawForm } from "../../support/form.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { encodeQuotedPrintable } from "../../support/quoted-printable.ts";
import { NOTHING, whatIsLeft } from "../../support/stored.ts";

/** Chunks of these sizes, repeatedly, each in a buffer of its own. */
async function* cut(text: string, sizes: number[]): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    yield Uint8Array.from(bytes.subarray(at, at + size));
    at += size;
  }
}

/** What the text decodes to, as latin1; or the kind of the problem. */
async function decode(encoding: string | null, text: string, sizes = [7]): Promise<string> {
  const decoded: Uint8Array[] = [];
  try {
    for await (const chunk of decodeTransfer(encoding, cut(text, sizes))) decoded.push(chunk);
  } catch (error) {
    if (error instanceof Problem) return error.kind;
    throw error;
  }
  return Buffer.concat(decoded).toString("latin1");
}

describe.each([[1], [2], [3], [5], [1000]])("in chunks of %i", (size) => {
  test.each([
    ["", ""],
    ["aGVsbG8=", "hello"],
    ["aGVsbG8=\r\n", "hello"],
    ["aGVs\r\nbG8=", "hello"],
    [" aG\tVs\nbG 8= ", "hello"],
    ["aGVsbG8h", "hello!"],
    ["aGVsbA==", "hell"],
    ["/+8=", "\xff\xef"],
    // Cut off, of another alphabet, with something after its end.
    ["aGVsbG8", "malformed"],
    ["aGVsbA=", "malformed"],
    ["aGVsbG8=aGVsbG8=", "malformed"],
    ["aGVsbA=A", "malformed"],
    ["aGVsbA==\r\nA", "malformed"],
    ["====", "malformed"],
    ["aGVsbG8-", "malformed"],
    ["aGVs*bG8=", "malformed"],
    ["a=Vs", "malformed"],
    ["aGVs\0bG8=", "malformed"],
    ["a", "malformed"],
  ])("base64 %j is %j", async (text, meant) => {
    expect(await decode("base64", text, [size])).toBe(meant);
  });

  test.each([
    ["", ""],
    ["hello", "hello"],
    ["a=3Db", "a=b"],
    ["=E9=e9", "\xe9\xe9"],
    ["one\r\ntwo\r\n", "one\r\ntwo\r\n"],
    ["one=\r\ntwo", "onetwo"],
    ["one=\ntwo", "onetwo"],
    ["one = \t\r\ntwo", "one two"],
    ["one \t\r\ntwo ", "one\r\ntwo"],
    ["one \ntwo", "one\ntwo"],
    ["one =20\r\n two", "one  \r\n two"],
    ["=0D=0A", "\r\n"],
    ["a\rb\r", "a\rb\r"],
    ["a \rb", "a \rb"],
    ["=", ""],
    ["a=\r\n", "a"],
    ["raw \xe9", "raw \xe9"],
    // Not an escape.
    ["=4", "malformed"],
    ["a=G1", "malformed"],
    ["a=1G", "malformed"],
    ["100%=", "100%"],
    ["a= b", "malformed"],
    ["a=\rb", "malformed"],
    ["a==3D", "malformed"],
  ])("quoted-printable %j is %j", async (text, meant) => {
    expect(await decode("quoted-printable", text, [size])).toBe(meant);
  });
});

const bytes = fc.uint8Array({ maxLength: 300 }).map((made) => Buffer.from(made));
const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 10 });

test("whatever was encoded comes back, however it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(bytes, sizes, fc.integer({ min: 4, max: 76 }), async (made, cuts, width) => {
      const meant = made.toString("latin1");
      const base64 = made.toString("base64").replaceAll(new RegExp(`.{${width}}`, "g"), "$&\r\n");
      expect(await decode("Base64", base64, cuts)).toBe(meant);
      expect(await decode("QUOTED-PRINTABLE", encodeQuotedPrintable(made, width), cuts)).toBe(meant);
    }),
    { numRuns: 300 },
  );
});

test.each([null, "binary", "8bit", "7bit", "7BIT"])("%s leaves the bytes as they are", async (encoding) => {
  expect(await decode(encoding, "a=3D\r\naGVsbG8=\xff")).toBe("a=3D\r\naGVsbG8=\xff");
});

test.each(["", "x-uuencode", "uuencode", "base32", "gzip", "base64, binary", "base64; x=y", "__proto__"])(
  "%j is not known: 415",
  async (encoding) => {
    expect(await decode(encoding, "x")).toBe("unsupported-media");
  },
);

test.each([" ", "\t", "=", "\r", "=\r\n", " \r\n", "a ", "=20"])(
  "half a megabyte of %j takes no time",
  async (piece) => {
    const text = piece.repeat(500_000 / piece.length);
    for (const encoding of ["base64", "quoted-printable"]) await decode(encoding, text, [65_536]);
  },
);

describe("over HTTP", () => {
  keepQuiet();
  beforeEach(() => reset());

  const DISPOSITION = 'Content-Disposition: form-data; name="file"; filename="x.txt"';
  const send = (encoding: string, body: string) =>
    postForm("/upload-file", rawForm([DISPOSITION, `Content-Transfer-Encoding: ${encoding}`], body));

  test("a file is stored as it was before it was encoded", async () => {
    for (const [encoding, body] of [
      ["base64", "aGVsbG8=\r\n"],
      ["quoted-printable", "h=65llo"],
      ["8bit", "hello"],
    ] as const) {
      const { status, body: file } = await send(encoding, body);
      expect([status, file.size, file.sha256]).toEqual([201, 5, sha256("hello")]);
      expect((await fetchText(file.url)).text).toBe("hello");
    }
  });

  test("a field is, too", async () => {
    const form = rawForm(
      ['Content-Disposition: form-data; name="a"', "Content-Transfer-Encoding: base64"],
      "w6k=",
    );
    expect((await postForm("/files", form)).body.fields).toEqual([{ name: "a", value: "é" }]);
  });

  test.each([
    ["base64", "not base64!", 400, "says that it is in base64, and is not"],
    ["base64", "aGVsbG8", 400, "says that it is in base64, and is not"],
    ["quoted-printable", "100%=!", 400, "says that it is in quoted-printable, and is not"],
    ["x-uuencode", "begin 644 x", 415, "Content-Transfer-Encoding of a part is none of"],
  ])("%s of %j is a %i, and nothing is kept", async (encoding, sent, status, detail) => {
    const { status: got, body } = await send(encoding, sent);
    expect([got, body.detail]).toEqual([status, expect.stringContaining(detail)]);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("a Content-Encoding of a part is a 415", async () => {
    const { status } = await postForm("/files", rawForm([DISPOSITION, "Content-Encoding: gzip"], "x"));
    expect(status).toBe(415);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});
