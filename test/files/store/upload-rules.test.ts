/** The rules at every way in: a form, PUT, tus, the IETF draft, concatenation, and grants; and files of tasks, which are exempt. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { readFileSettings, saveFile } from "../../../src/files/index.ts";
import { HEAD_SIZE } from "../../../src/files/store/content.ts";
import { callForJson } from "../../support/call.ts";
import { putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { NOTHING, whatIsLeft } from "../../support/stored.ts";
import {
  CHUNK,
  createTus,
  MIB,
  metadata,
  PARTIAL,
  patchTus,
  pathOf,
  send,
  TUS,
  TUS_TYPE,
  uploadTus,
} from "../../support/uploads.ts";

keepQuiet();
// Of what breaks off a put to R2 that has begun.
expectRuntimeErrors("because client disconnected");
beforeEach(() => reset());

const PNG = Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), Buffer.alloc(12, 7)]);
const HTML = Buffer.from("<!DOCTYPE html><p>");
const ZIP = Buffer.from("PK\x03\x04 and so on", "latin1");
const variables = {
  UPLOAD_RULES: [
    { prefix: "raw-" },
    { prefix: "cv-", types: ["application/pdf"], extensions: ["pdf"] },
    { max_bytes: 10_000, types: ["image/*", "text/plain"], extensions: ["png", "txt"] },
  ],
};
const rule = { variables };

type Sent = { status: number; detail: string };
const sentOf = ({ status, body }: { status: number; body?: Record<string, unknown> | undefined }): Sent => ({
  status,
  detail: typeof body?.detail === "string" ? body.detail : "",
});

/** Each way in sends a file with a name, a type and bytes, whole. */
const WAYS: Record<string, (name: string, type: string, body: Buffer<ArrayBuffer>) => Promise<Sent>> = {
  PUT: async (name, type, body) =>
    sentOf(
      await putFile("up", body, {
        ...rule,
        headers: {
          "Content-Type": type,
          "Content-Length": String(body.length),
          "Content-Disposition": `attachment; filename="${name}"`,
        },
      }),
    ),
  "PUT of unknown length": async (name, type, body) =>
    sentOf(
      await putFile("up", new Blob([body]).stream(), {
        ...rule,
        headers: { "Content-Type": type, "Content-Disposition": `attachment; filename="${name}"` },
      }),
    ),
  form: async (name, type, body) => {
    const form = new FormData();
    form.append("file", new File([body], name, { type }));
    return sentOf(await callForJson("/files", { ...rule, method: "POST", body: form }));
  },
  tus: async (name, type, body) => {
    const headers = { ...TUS, "Upload-Length": body.length, ...metadata({ filename: name, filetype: type }) };
    const created = await send("POST", "/uploads", { ...rule, headers });
    if (created.status !== 201) return sentOf(created);
    return sentOf(await patchTus(pathOf(created), 0, body, rule));
  },
  "tus, with its creation": async (name, type, body) => {
    const described = metadata({ filename: name, filetype: type });
    const headers = { ...TUS, ...TUS_TYPE, "Upload-Length": body.length, ...described };
    return sentOf(await send("POST", "/uploads", { ...rule, body, headers }));
  },
  "the IETF draft": async (name, type, body) =>
    sentOf(
      await send("POST", "/uploads", {
        ...rule,
        body,
        headers: {
          "Content-Type": type,
          "Content-Disposition": `attachment; filename="${name}"`,
          "Content-Length": body.length,
          "Upload-Complete": "?1",
          "Upload-Draft-Interop-Version": 10,
        },
      }),
    ),
  concatenation: async (name, type, body) => {
    const half = Math.floor(body.length / 2);
    const parts = [body.subarray(0, half), body.subarray(half)].map((part) => Buffer.from(part));
    const paths = await Promise.all(parts.map(async (part) => uploadTus(part, PARTIAL)));
    const concat = { "Upload-Concat": `final;${paths.join(" ")}` };
    const headers = { ...TUS, ...concat, ...metadata({ filename: name, filetype: type }) };
    const created = await send("POST", "/uploads", { ...rule, headers });
    for (const path of paths) await send("DELETE", path, { headers: TUS });
    return sentOf(created);
  },
  "a grant": async (name, type, body) => {
    const made = await callForJson("/uploads/grants", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ max_bytes: 50_000_000, expires_in: 60 }),
    });
    const path = `${new URL(String(made.body.url)).pathname}/${name}`;
    return sentOf(await send("PUT", path, { ...rule, body, headers: { "Content-Type": type } }));
  },
};

describe.each(Object.entries(WAYS))("by %s", (_way, upload) => {
  test("what the rule allows is stored", async () => {
    expect((await upload("a.png", "image/png", PNG)).status).toBeLessThan(205);
    expect((await whatIsLeft()).files).toHaveLength(1);
  });

  test.each<[string, number, string, string, Buffer<ArrayBuffer>, RegExp]>([
    [
      "too long",
      413,
      "a.png",
      "image/png",
      Buffer.concat([PNG, Buffer.alloc(10_000)]),
      /10000 bytes.*UPLOAD_RULES\[2\]/,
    ],
    [
      "of another type",
      415,
      "a.png",
      "application/pdf",
      PNG,
      /^UPLOAD_RULES\[2\] takes files of the type image\/\*, text\/plain/,
    ],
    [
      "of another extension",
      422,
      "a.gif",
      "image/png",
      PNG,
      /^UPLOAD_RULES\[2\] takes files whose names end in \.png, \.txt/,
    ],
    [
      "HTML that says it is a picture",
      415,
      "a.png",
      "image/png",
      HTML,
      /image\/png, and begins as text\/html.*UPLOAD_RULES\[2\]/,
    ],
    [
      "a long ZIP that says so",
      415,
      "a.png",
      "image/png",
      Buffer.concat([ZIP, Buffer.alloc(9000, 1)]),
      /as application\/zip/,
    ],
    ["a picture that says it is text", 415, "a.txt", "text/plain", PNG, /not UTF-8 without NUL/],
  ])("what is %s is a %i, and nothing is left", async (_, status, name, type, body, detail) => {
    expect(await upload(name, type, body)).toEqual({ status, detail: expect.stringMatching(detail) });
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});

describe("the first rule whose prefix the id has counts", () => {
  test.each<[string, string, Buffer<ArrayBuffer>, number]>([
    ["raw-1.html", "text/html", HTML, 201],
    ["cv-1.pdf", "application/pdf", Buffer.from("%PDF-1.7"), 201],
    ["cv-1.pdf", "image/png", PNG, 415],
    ["other.png", "image/png", PNG, 201],
    ["other.html", "text/html", HTML, 415],
  ])("%s as %s", async (id, type, body, status) => {
    expect((await putFile(id, body, { ...rule, headers: { "Content-Type": type } })).status).toBe(status);
  });
});

describe("a resumable upload", () => {
  const typed = metadata({ filename: "a.png", filetype: "image/png" });

  test.each([
    ["HTML", HTML, 415],
    ["a picture", PNG, 204],
  ])("byte by byte is judged by its whole beginning: %s", async (_, body, status) => {
    const path = await createTus({ "Upload-Length": body.length, ...typed }, rule);
    for (let at = 0; at < body.length - 1; at++)
      expect((await patchTus(path, at, body.subarray(at, at + 1), rule)).status).toBe(204);
    const last = await patchTus(path, body.length - 1, body.subarray(-1), rule);
    expect(last.status).toBe(status);
    if (status === 415) expect((await send("HEAD", path, { headers: TUS })).status).toBe(404);
  });

  test("ends with the request in which its beginning is complete, however long it will be", async () => {
    const path = await createTus({ "Upload-Length": 9000, ...typed }, rule);
    const page = Buffer.concat([HTML, Buffer.alloc(9000)]);
    expect((await patchTus(path, 0, page.subarray(0, HEAD_SIZE - 1), rule)).status).toBe(204);
    expect((await patchTus(path, HEAD_SIZE - 1, page.subarray(0, 1), rule)).status).toBe(415);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("whose bytes were damaged on their way can send them again", async () => {
    const body = Buffer.concat([PNG, Buffer.alloc(HEAD_SIZE)]);
    const path = await createTus({ "Upload-Length": body.length, ...typed }, rule);
    const digest = Buffer.from(await crypto.subtle.digest("SHA-1", body)).toString("base64");
    const headers = { ...CHUNK, "Upload-Checksum": `sha1 ${digest}` };
    const damaged = Buffer.from(body).fill(60, 0, 8);
    expect((await patchTus(path, 0, damaged, { ...rule, headers })).status).toBe(460);
    expect((await patchTus(path, 0, body, { ...rule, headers })).status).toBe(204);
  });

  test("of unknown length is as long as the rule allows", async () => {
    const path = await createTus({ "Upload-Defer-Length": 1, ...typed }, rule);
    expect((await patchTus(path, 0, Buffer.concat([PNG, Buffer.alloc(10_000)]), rule)).status).toBe(413);
  });

  test("that was waiting for its pieces keeps to the rule, too", async () => {
    const partial = await createTus({ ...PARTIAL, "Upload-Defer-Length": 1 });
    const concat = { ...TUS, ...typed, "Upload-Concat": `final;${partial}` };
    const final = await send("POST", "/uploads", { ...rule, headers: concat });
    expect(final.status).toBe(201);
    const body = Buffer.concat([PNG, Buffer.alloc(10_000)]);
    const headers = { ...CHUNK, "Upload-Length": body.length };
    expect((await patchTus(partial, 0, body, { headers })).status).toBe(204);
    await expect.poll(async () => (await send("HEAD", pathOf(final), { headers: TUS })).status).toBe(404);
    expect((await whatIsLeft()).files).toEqual([]);
  });
});

test("of a form with one file that is not what it says, nothing is kept", async () => {
  const form = new FormData();
  form.append("good", new File([PNG], "a.png", { type: "image/png" }));
  form.append("bad", new File([HTML], "b.png", { type: "image/png" }));
  const { status, body } = await callForJson("/files", { ...rule, method: "POST", body: form });
  expect([status, body.detail]).toEqual([415, expect.stringMatching(/Nothing of the form was kept\.$/)]);
  expect(await whatIsLeft()).toEqual(NOTHING);
});

test("of a long upload, only the beginning is looked at", async () => {
  const open = { variables: { UPLOAD_RULES: [{ types: ["image/png"] }] } };
  const body = Buffer.concat([PNG, Buffer.alloc(6 * MIB, 1), Buffer.from("<script>")]);
  const headers = { "Content-Type": "image/png", "Content-Length": String(body.length) };
  expect((await putFile("long", body, { ...open, headers })).status).toBe(201);
});

test("a grant's own types are held by content, without any rule", async () => {
  const made = await callForJson("/uploads/grants", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ max_bytes: 100, expires_in: 60, files: 3, content_types: ["image/*"] }),
  });
  const path = new URL(String(made.body.url)).pathname;
  const put = async (body: BodyInit) => send("PUT", path, { body, headers: { "Content-Type": "image/png" } });
  const [page, picture] = [await put(HTML), await put(PNG)];
  expect([page.status, page.body?.detail, picture.status]).toEqual([
    415,
    expect.stringMatching(/begins as text\/html does\. This grant takes only/),
    201,
  ]);
  const typed = metadata({ filetype: "image/png" });
  const tus = await send("POST", path, { headers: { ...TUS, ...typed, "Upload-Length": HTML.length } });
  expect((await patchTus(pathOf(tus), 0, HTML)).status).toBe(415);
  expect((await callForJson(path)).body).toMatchObject({ stored: 1, underWay: 0 });
});

test("files that the code of this Worker writes are exempt", async () => {
  const spec = { id: "made.html", filename: "made.html", contentType: "text/html" };
  const saved = await saveFile({ ...env, ...variables }, spec, HTML);
  expect(saved.size).toBe(HTML.length);
});

test.each([
  [[{ types: ["image"] }], /UPLOAD_RULES\.0\.types\.0/],
  [[{ extensions: [".png"] }], /UPLOAD_RULES\.0\.extensions\.0/],
  [[{ max_bytes: -1 }], /UPLOAD_RULES\.0\.max_bytes/],
  [[{ prefix: "a/b" }], /UPLOAD_RULES\.0\.prefix/],
  [[{ colour: "red" }], /UPLOAD_RULES\.0/],
  ["[", /not valid JSON/],
])("a rule that is wrong is named: %j", (rules, message) => {
  expect(() => readFileSettings({ ...env, UPLOAD_RULES: rules } as unknown as Env)).toThrow(message);
  expect(
    readFileSettings({ ...env, UPLOAD_RULES: '[{"types":["Image/*"]}]' } as unknown as Env).rules,
  ).toMatchObject([{ prefix: "", types: ["image/*"] }]);
});
