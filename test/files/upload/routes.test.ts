/** Forms over HTTP, with one file and with several. Whatever goes wrong, nothing is left behind. */
import { createExecutionContext, env, reset, waitOnExecutionContext } from "cloudflare:test";
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { MIN_PART_SIZE } from "../../../src/files/store/parts.ts";
import { storedFileSchema } from "../../../src/files/store/schema.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { fetchText, postForm, sha256 } from "../../support/files.ts";
import { FORM_TYPE, fieldPart, filePart, formBody, streamedForm, streamOf } from "../../support/form.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { catalogueRows, NOTHING, objectKeys, watchedBucket, whatIsLeft } from "../../support/stored.ts";
import worker from "../../support/worker.ts";

const MIB = 1024 * 1024;

const upload = (body: BodyInit | null, options = {}) => postForm("/upload-file", body, options);

keepQuiet();
beforeEach(() => reset());

describe("POST /upload-file", () => {
  test("responds with what was stored and where it is; the R2 key contains nothing of the name", async () => {
    const { status, headers, body } = await upload(formBody([filePart("hello\r\nworld")]));
    expect(status).toBe(201);
    expect(storedFileSchema.strict().parse(body)).toEqual(body);
    expect(body).toMatchObject({
      filename: "a.txt",
      size: 12,
      contentType: "text/plain",
      sha256: sha256("hello\r\nworld"),
      expiresAt: null,
    });
    expect(headers.get("Location")).toBe(body.url);
    expect(body.url).toBe(`http://localhost/files/${String(body.id)}`);
    expect((await fetchText(body.url)).text).toBe("hello\r\nworld");
    const [key = "", ...others] = await objectKeys();
    expect([key.startsWith(`files/${String(body.id)}/`), others]).toEqual([true, []]);
  });

  test("accepts a form made by the platform, fields beside the file, and an empty file", async () => {
    const form = new FormData();
    form.set("comment", "no matter");
    form.set("file", new File(["x".repeat(1000)], "x.bin"));
    form.set("comment2", "no matter either");
    const { status, body } = await upload(form, { headers: {} });
    expect([status, body.filename, body.size, body.contentType]).toEqual([
      201,
      "x.bin",
      1000,
      "application/octet-stream",
    ]);
    const empty = await upload(formBody([filePart("")]));
    expect([empty.status, empty.body.size, empty.body.sha256]).toEqual([201, 0, sha256("")]);
  });

  // The other sizes around those of parts are in blob-writer.test.ts.
  test.each([MIN_PART_SIZE, 2 * MIN_PART_SIZE + 1])("of %i bytes comes back byte for byte", async (size) => {
    const bytes = new Uint8Array(size).map((_, i) => (i * 31) % 251);
    const form = new FormData();
    form.set("file", new File([bytes], "x.bin"));
    const { body } = await upload(form, { headers: {} });
    expect([body.size, body.sha256]).toEqual([size, sha256(bytes)]);
    const { response } = await callWorker(`/files/${String(body.id)}`);
    expect(sha256(new Uint8Array(await response.arrayBuffer()))).toBe(sha256(bytes));
  });

  test("streams 17 MiB, with at most two parts in memory", async () => {
    const chunk = crypto.getRandomValues(new Uint8Array(64 * 1024));
    let handedOut = 0;
    let stored = 0;
    let maxAhead = 0;
    const { seen, variables } = watchedBucket({
      uploadPart: async (_number, send) => {
        await scheduler.wait(20); // much slower than the client sends
        maxAhead = Math.max(maxAhead, handedOut - stored);
        const part = await send();
        stored += MIN_PART_SIZE;
        return part;
      },
    });
    const form = streamedForm(chunk, 272, (count) => {
      handedOut = count;
    });
    const { status, body } = await upload(form, { variables });
    const hash = createHash("sha256");
    for (let i = 0; i < 272; i++) hash.update(chunk);
    expect([status, body.size, body.sha256]).toEqual([201, 17 * MIB, hash.digest("hex")]);
    expect([
      seen.open,
      seen.maxSending,
      seen.partSizes.slice(0, -1).every((n) => n === MIN_PART_SIZE),
    ]).toEqual([0, 1, true]);
    expect(maxAhead).toBeGreaterThan(MIN_PART_SIZE);
    expect(maxAhead).toBeLessThan(2 * MIN_PART_SIZE + MIB);
  });

  test.each<[string, string, number, string]>([
    ["(a good one, to compare)", formBody([filePart("hello")]), 201, ""],
    ["no parts", formBody([]), 422, "no file in the form"],
    ["no file, only fields", formBody([fieldPart("a", "1")]), 422, "no file in the form"],
    [
      "the file in another field",
      formBody([filePart("x", 'name="doc"; filename="a"')]),
      422,
      'the field "file"',
    ],
    ["the field, but as text", formBody([fieldPart("file", "hello")]), 422, "is text, not a file"],
    [
      "an empty file name: nothing was chosen",
      formBody([filePart("", 'name="file"; filename=""')]),
      422,
      "none was chosen",
    ],
    [
      "a name of which nothing remains",
      formBody([filePart("x", 'name="file"; filename=".."')]),
      422,
      "no name",
    ],
    ["bytes, but no name", formBody([filePart("x", 'name="file"; filename=""')]), 422, "no name"],
    [
      "(a good one, to compare) another file input left empty, after it",
      formBody([filePart("hello"), filePart("", 'name="cover"; filename=""')]),
      201,
      "",
    ],
    [
      "(a good one, to compare) several left empty, before it",
      formBody([
        filePart("", 'name="file"; filename=""'),
        { disposition: 'name="cover"', type: "application/octet-stream", body: "" },
        filePart("hello"),
      ]),
      201,
      "",
    ],
    [
      "a name of 256 bytes",
      formBody([filePart("x", `name="file"; filename="${"é".repeat(128)}"`)]),
      422,
      "255 bytes",
    ],
    ["two files", formBody([filePart("one"), filePart("two")]), 422, "more than one file"],
    [
      "a large file, and a second",
      formBody([filePart("x".repeat(2 * MIN_PART_SIZE)), filePart("two")]),
      422,
      "one file",
    ],
    [
      "a good file, and a broken end",
      formBody([filePart("hello"), filePart("x")], "").slice(0, -4),
      400,
      "ends before its last boundary",
    ],
    [
      "a large file cut short",
      formBody([filePart("x".repeat(12 * MIB))], "").slice(0, -9),
      400,
      "ends before its last boundary",
    ],
  ])("%s", async (_name, form, status, detail) => {
    const { seen, variables } = watchedBucket();
    const response = await upload(form, { variables });
    expect([response.status, seen.open]).toEqual([status, 0]);
    if (status === 201) return;
    expect(response.headers.get("Content-Type")).toBe("application/problem+json");
    expect(response.body.detail).toContain(detail);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test.each([
    ["naïve 😀.pdf", "naïve 😀.pdf"],
    ["../../etc/passwd", "passwd"],
    ["C:\\temp\\report.doc", "report.doc"],
    ["مرحبا.txt", "مرحبا.txt"],
    ["a%0d%0aSet-Cookie: x.txt", "aSet-Cookie: x.txt"],
    ["say %22hi%22.txt", 'say "hi".txt'],
  ])("keeps the name %s as metadata", async (sent, filename) => {
    const { body } = await upload(formBody([filePart("x", `name="file"; filename="${sent}"`)]));
    expect(body.filename).toBe(filename);
  });

  test("a file longer than MAX_FILE_BYTES is rejected while it arrives, and the rest is not read", async () => {
    const chunk = new Uint8Array(64 * 1024);
    let handedOut = 0;
    const form = streamedForm(chunk, 272, (count) => {
      handedOut = count;
    });
    const { status, body } = await upload(form, { variables: { MAX_FILE_BYTES: MIB } });
    expect([status, body.type]).toEqual([413, "urn:sluice:problem:too-large"]);
    expect(body.detail).toBe("A file can have at most 1048576 bytes here. Nothing of the form was kept.");
    expect(handedOut).toBeLessThan(3 * MIB);
    expect(await whatIsLeft()).toEqual(NOTHING);
    const fits = await upload(formBody([filePart("x".repeat(MIB))]), { variables: { MAX_FILE_BYTES: MIB } });
    expect(fits.status).toBe(201);
  });
});

describe("POST /files", () => {
  const form = formBody([
    fieldPart("title", "Zwei"),
    filePart("one", 'name="a"; filename="1.txt"'),
    filePart("two", 'name="b"; filename="2.txt"'),
    fieldPart("title", "again"),
  ]);

  test("stores every file, and returns the fields", async () => {
    const { status, body } = await postForm("/files", form);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      files: [
        { field: "a", filename: "1.txt", sha256: sha256("one") },
        { field: "b", filename: "2.txt", sha256: sha256("two") },
      ],
      fields: [
        { name: "title", value: "Zwei" },
        { name: "title", value: "again" },
      ],
    });
    const files = body.files as { url: string }[];
    expect(await Promise.all(files.map(async ({ url }) => (await fetchText(url)).text))).toEqual([
      "one",
      "two",
    ]);
  });

  test("a form without a file is not an error", async () => {
    expect((await postForm("/files", formBody([fieldPart("a", "1")]))).body).toEqual({
      files: [],
      fields: [{ name: "a", value: "1" }],
    });
  });

  test("ignores a file input in which no file was chosen", async () => {
    const empty = { disposition: 'name="b"; filename=""', type: "application/octet-stream", body: "" };
    const { status, body } = await postForm("/files", formBody([filePart("one"), empty]));
    expect([status, body.files]).toMatchObject([201, [{ filename: "a.txt" }]]);
    expect(await objectKeys()).toHaveLength(1);
  });

  test.each<[string, string, number]>([
    ["breaks off", form.slice(0, -20), 400],
    [
      "has a part that is malformed",
      form.replace('form-data; name="title"\r\n\r\nagain', "\r\n\r\nagain"),
      400,
    ],
    ["has a field that is too long", form.replace("again", "x".repeat(65_537)), 413],
    ["has a name that is too long", form.replace("2.txt", "x".repeat(256)), 422],
    ["has a file of more than 10 bytes", form.replace("two", "x".repeat(11)), 413],
  ])("that %s after a good file: nothing is kept, and the response says so", async (_name, wrong, status) => {
    expect(wrong).not.toBe(form);
    const response = await postForm("/files", wrong, { variables: { MAX_FILE_BYTES: 10 } });
    expect([response.status, response.body.detail]).toEqual([
      status,
      expect.stringMatching(/\. Nothing of the form was kept\.$/),
    ]);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});

test("an upload whose client disconnects is kept alive until its bytes are removed", async () => {
  const ctx = createExecutionContext();
  const waitUntil = vi.spyOn(ctx, "waitUntil");
  const dead = Promise.withResolvers<never>();
  const half = new TextEncoder().encode(formBody([filePart("x".repeat(6 * MIB))], "").slice(0, -9));
  const body = streamOf([half], (handedOut) => (handedOut === 0 ? undefined : dead.promise));
  const { seen, variables } = watchedBucket();
  const request = new Request<unknown, IncomingRequestCfProperties>("http://localhost/upload-file", {
    method: "POST",
    body,
    headers: { "Content-Type": FORM_TYPE },
  });
  const response = worker.fetch(request, { ...env, ...variables }, ctx);
  await expect.poll(() => [waitUntil.mock.calls.length, seen.open]).toEqual([1, 1]);
  dead.reject(new Error("the connection is reset"));
  expect((await response).status).toBe(400);
  await waitOnExecutionContext(ctx);
  expect([seen.open, await whatIsLeft()]).toEqual([0, NOTHING]);
});

describe("expires_in", () => {
  test.each(["POST /upload-file", "POST /files", "PUT /files/a"])(
    "of %s sets when the file expires",
    async (route) => {
      const [method = "", path = ""] = route.split(" ");
      const headers = { "Content-Type": method === "POST" ? FORM_TYPE : "text/plain" };
      const options = { method, headers, body: formBody([filePart("x")]) };
      const { status } = await callForJson(`${path}?expires_in=3600`, options);
      expect(status).toBe(201);
      const [row] = (await catalogueRows()).files;
      expect(Number(row?.expires_at_ms) - Number(row?.modified_at_ms)).toBeGreaterThan(3_599_000);
      expect(Number(row?.expires_at_ms) - Number(row?.modified_at_ms)).toBeLessThanOrEqual(3_600_000);
    },
  );

  test.each(["0", "-1", "1.5", "soon", "", "99999999999", "9999999999"])(
    "%j is rejected before a byte is read",
    async (value) => {
      const { status, body } = await callForJson(`/files/a?expires_in=${value}`, {
        method: "PUT",
        body: "x",
      });
      expect([status, body.errors]).toMatchObject([422, [{ at: "query/expires_in" }]]);
      expect(await whatIsLeft()).toEqual(NOTHING);
    },
  );
});
