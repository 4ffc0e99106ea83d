/** Uploads of a whole file: a piece of one is not taken for it, and every digest that comes with it is checked. */
import { reset } from "cloudflare:test";
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { postForm, putFile, sha256 } from "../../support/files.ts";
import { FORM_TYPE, fieldPart, filePart, formBody, rawForm } from "../../support/form.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { NOTHING, whatIsLeft } from "../../support/stored.ts";

keepQuiet();
beforeEach(() => reset());

const FORM = formBody([fieldPart("a", "1"), filePart("hello")]);
const digest = (algorithm: string, bytes: string) => createHash(algorithm).update(bytes).digest("base64");
const field = (algorithm: string, name: string, bytes: string) => `${name}=:${digest(algorithm, bytes)}:`;

const put = (headers: Record<string, string>) => putFile("a", "hello", { headers });
const post = (headers: Record<string, string>, form = FORM) =>
  postForm("/files", form, { headers: { "Content-Type": FORM_TYPE, ...headers } });

describe("a piece", () => {
  test.each<[Record<string, string>, number]>([
    [{}, 201],
    [{ "Upload-Complete": "?1" }, 201],
    [{ "Upload-Complete": "?1;a=b", "Upload-Draft-Interop-Version": "8" }, 201],
    [{ "Upload-Incomplete": "?0" }, 201],
    [{ "Upload-Offset": "0", "Upload-Complete": "?1" }, 201],
    [{ "Upload-Complete": "?0" }, 400],
    [{ "Upload-Complete": "?0;x" }, 400],
    [{ "Upload-Complete": "0" }, 400],
    [{ "Upload-Complete": "" }, 400],
    [{ "Upload-Complete": "?1, ?0" }, 400],
    [{ "Upload-Incomplete": "?1" }, 400],
    [{ "Upload-Offset": "5", "Upload-Complete": "?1" }, 400],
    [{ "Upload-Length": "500" }, 400],
    [{ "Content-Range": "bytes 0-4/5" }, 400],
    [{ "Content-Range": "bytes 0-4/*" }, 400],
    [{ "Content-Range": "" }, 400],
  ])("%o: %i, by PUT and in a form", async (headers, status) => {
    for (const response of [await put(headers), await post(headers)]) {
      expect([response.status, response.body.detail ?? ""]).toEqual([
        status,
        status === 201 ? "" : expect.stringContaining("to send it in pieces, use /uploads"),
      ]);
    }
    if (status !== 201) expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("of the length that is announced is the whole", async () => {
    const headers = { "Upload-Length": "5", "Content-Length": "5" };
    expect((await put(headers)).status).toBe(201);
    expect((await put({ ...headers, "Upload-Length": "6" })).status).toBe(400);
  });

  test.each([
    "multipart/form-data; boundary=x",
    "Multipart/Form-Data",
    "multipart/byteranges; boundary=x",
    "application/partial-upload",
    "application/offset+octet-stream",
  ])("is not stored by PUT as %s", async (type) => {
    expect((await put({ "Content-Type": type })).status).toBe(415);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("is not stored as a part of a form", async () => {
    const disposition = 'Content-Disposition: form-data; name="f"; filename="a"';
    const form = rawForm([disposition, "Content-Range: bytes 0-4/10"], "hello");
    expect((await post({}, form)).status).toBe(400);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});

test.each(["gzip", "br", "identity, gzip"])(
  "bytes in %s are not stored, by PUT or in a form",
  async (coding) => {
    for (const send of [put, post]) {
      const { status, headers, body } = await send({ "Content-Encoding": coding });
      expect([status, headers.get("Accept-Encoding"), body.detail]).toEqual([
        415,
        "identity",
        expect.stringContaining("without Content-Encoding"),
      ]);
    }
    expect(await whatIsLeft()).toEqual(NOTHING);
    for (const send of [put, post]) expect((await send({ "Content-Encoding": "identity" })).status).toBe(201);
  },
);

test.each(["base64", "Quoted-Printable", "x-uuencode"])(
  "bytes in %s, by the header of the request, are not stored, by PUT or in a form",
  async (encoding) => {
    for (const send of [put, post]) {
      const { status, body } = await send({ "Content-Transfer-Encoding": encoding });
      expect([status, body.detail]).toEqual([
        415,
        expect.stringContaining("without Content-Transfer-Encoding"),
      ]);
    }
    expect(await whatIsLeft()).toEqual(NOTHING);
    for (const same of ["binary", "8BIT", "7bit", ""]) {
      for (const send of [put, post])
        expect((await send({ "Content-Transfer-Encoding": same })).status).toBeLessThan(300);
    }
  },
);

describe("a digest", () => {
  test.each<[string, (bytes: string) => Record<string, string>]>([
    ["Content-Digest", (bytes) => ({ "Content-Digest": field("sha256", "sha-256", bytes) })],
    ["Repr-Digest", (bytes) => ({ "Repr-Digest": field("sha512", "sha-512", bytes) })],
    ["Content-MD5", (bytes) => ({ "Content-MD5": digest("md5", bytes) })],
    ["an old algorithm", (bytes) => ({ "Repr-Digest": field("sha1", "sha", bytes) })],
    [
      "two, the second of which is the one that may be wrong",
      (bytes) => ({
        "Content-Digest": `${field("sha256", "sha-256", FORM)}, ${field("md5", "md5", bytes)}`,
      }),
    ],
  ])("of a form is that of its whole body: %s", async (_name, headers) => {
    const wrong = await post(headers(FORM.slice(1)));
    expect([wrong.status, wrong.body.type]).toEqual([400, "urn:sluice:problem:digest-mismatch"]);
    expect(wrong.body.detail).toContain("Nothing of the form was kept");
    expect(await whatIsLeft()).toEqual(NOTHING);
    expect((await post(headers(FORM))).status).toBe(201);
  });

  test("covers what follows the last boundary, as far as it is read", async () => {
    const form = `${FORM}epilogue`;
    expect((await post({ "Content-MD5": digest("md5", FORM) }, form)).status).toBe(400);
    expect((await post({ "Content-MD5": digest("md5", form) }, form)).status).toBe(201);
    const long = FORM + "x".repeat(1_000_000);
    const { status, body } = await post({ "Content-MD5": digest("md5", long) }, long);
    expect([status, body.detail]).toEqual([400, expect.stringContaining("too much data after the form")]);
  });

  const part = (disposition: string, lines: string[]) =>
    rawForm([`Content-Disposition: form-data; ${disposition}`, ...lines], "hello");

  test.each(['name="f"; filename="a"', 'name="f"'])("of a part is checked: %s", async (disposition) => {
    for (const [name, right, wrong] of [
      ["Content-MD5", digest("md5", "hello"), digest("md5", "other")],
      ["content-digest", field("sha256", "sha-256", "hello"), field("sha256", "sha-256", "other")],
      ["Repr-Digest", field("sha512", "sha-512", "hello"), field("sha512", "sha-512", "other")],
    ] as const) {
      const { status, body } = await post({}, part(disposition, [`${name}: ${wrong}`]));
      expect([status, body.type]).toEqual([400, "urn:sluice:problem:digest-mismatch"]);
      expect(await whatIsLeft()).toEqual(NOTHING);
      expect((await post({}, part(disposition, [`${name}: ${right}`]))).status).toBe(201);
      await reset();
    }
  });

  test("of a part that is encoded is that of the bytes before (RFC 1864 §2)", async () => {
    const send = (md5: string) =>
      post(
        {},
        rawForm(
          [
            'Content-Disposition: form-data; name="f"; filename="a"',
            "Content-Transfer-Encoding: base64",
            `Content-MD5: ${md5}`,
          ],
          "aGVsbG8=",
        ),
      );
    expect([
      (await send(digest("md5", "hello"))).status,
      (await send(digest("md5", "aGVsbG8="))).status,
    ]).toEqual([201, 400]);
  });

  test.each<[Record<string, string>]>([
    [{ Digest: `sha-256=${digest("sha256", "hello")}` }],
    [{ "Upload-Checksum": `sha256 ${digest("sha256", "hello")}` }],
    [{ "Content-Digest": "crc32c=:AAAAAA==:" }],
    [{ "X-Checksum-Sha256": sha256("hello") }],
    [{ "X-Amz-Checksum-Sha256": digest("sha256", "hello") }],
    [{ Trailer: "Content-Digest" }],
  ])("that is not checked is a 400 that says so: %o", async (headers) => {
    const sent = await Promise.all([put(headers), post(headers)]);
    const [name = ""] = Object.keys(headers);
    for (const { status, body } of sent) {
      expect([status, String(body.detail).toLowerCase()]).toEqual([
        400,
        expect.stringContaining(`the header ${name.toLowerCase()} cannot be used`),
      ]);
    }
    if (name !== "Trailer") {
      const form = part('name="f"; filename="a"', [`${name}: ${headers[name]}`]);
      expect((await post({}, form)).status).toBe(400);
    }
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});
