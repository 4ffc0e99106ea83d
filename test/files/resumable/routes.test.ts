import { describe, expect, test } from "vitest";
import { callForJson } from "../../support/call.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  CHUNK,
  createTus,
  fileOf,
  headTus,
  idOf,
  metadata,
  NO_UPLOAD,
  PARTIAL,
  patchTus,
  pathOf,
  send,
  storageOf,
  TUS,
  uploadTus,
} from "../../support/uploads.ts";

keepQuiet();

const IETF = { "Upload-Draft-Interop-Version": 8 };
const WHOLE = { ...IETF, "Upload-Complete": "?1" };

/** The file in the list of files; undefined if it is not listed. */
async function listed(path: string) {
  const { body } = await send("GET", `/files?prefix=${idOf(path)}`);
  return body?.files[0];
}

describe("OPTIONS", () => {
  test.each([
    ["/uploads", "POST, OPTIONS"],
    [NO_UPLOAD, "GET, HEAD, PATCH, DELETE, POST, OPTIONS"],
  ])("of %s states the capabilities, in both protocols", async (path, allow) => {
    const response = await send("OPTIONS", path);
    expect([response.status, response.text]).toEqual([200, ""]);
    expect(response.has("Allow", "Accept-Patch", "Upload-Limit", "Tus-Version")).toEqual({
      Allow: allow,
      "Accept-Patch": "application/offset+octet-stream, application/partial-upload",
      "Upload-Limit": "max-size=50000000000, max-append-size=100000000",
      "Tus-Version": "1.0.0",
    });
  });

  test("is open to everyone: it says nothing about any upload", async () => {
    const response = await send("OPTIONS", "/uploads", { site: "https://sluice.example.com" });
    expect([response.status, response.headers.get("Tus-Version")]).toEqual([200, "1.0.0"]);
  });

  test("states the configured maximum", async () => {
    const response = await send("OPTIONS", "/uploads", { variables: { MAX_FILE_BYTES: 1000 } });
    expect(response.has("Tus-Max-Size", "Upload-Limit")).toEqual({
      "Tus-Max-Size": "1000",
      "Upload-Limit": "max-size=1000, max-append-size=100000000",
    });
  });
});

describe("a page of another site", () => {
  const ORIGIN = "https://app.example.com";
  const cors = { variables: { CORS_ORIGINS: [ORIGIN] } };
  const preflight = {
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "tus-resumable,upload-offset",
  };

  test.each([
    [ORIGIN, 204, ORIGIN],
    ["https://evil.example.com", 200, null],
  ])("%s learns by a preflight what it may send", async (origin, status, allowed) => {
    const response = await send("OPTIONS", NO_UPLOAD, { ...cors, headers: { Origin: origin, ...preflight } });
    expect([response.status, response.headers.get("Access-Control-Allow-Origin")]).toEqual([status, allowed]);
    if (allowed === null) return expect(response.headers.has("Access-Control-Allow-Methods")).toBe(false);
    const methods = response.headers.get("Access-Control-Allow-Methods")?.split(",");
    expect(methods).toEqual(expect.arrayContaining(["POST", "HEAD", "PATCH", "DELETE"]));
    expect(response.headers.get("Access-Control-Allow-Headers")).toBe("tus-resumable,upload-offset");
  });

  test("may read every header that the protocols respond with, also of a rejection", async () => {
    const headers = { ...TUS, Origin: ORIGIN };
    const created = await send("POST", "/uploads", { ...cors, headers: { ...headers, "Upload-Length": 5 } });
    const rejected = await patchTus(pathOf(created), 3, "lo", { ...cors, headers });
    const head = await send("HEAD", pathOf(created), { ...cors, headers });
    const draft = await send("POST", "/uploads", {
      ...cors,
      body: "x",
      headers: { ...WHOLE, Origin: ORIGIN },
    });
    expect([created, rejected, head, draft].map(({ status }) => status)).toEqual([201, 409, 200, 201]);
    for (const response of [created, rejected, head, draft]) {
      expect(response.headers.get("Access-Control-Allow-Origin")).toBe(ORIGIN);
      const exposed = response.headers.get("Access-Control-Expose-Headers")?.split(",") ?? [];
      const sent = [...response.headers.keys()].filter((name) =>
        /^(upload|tus|location|content-location)/.test(name),
      );
      expect(sent.length).toBeGreaterThan(0);
      expect(exposed.map((name) => name.toLowerCase())).toEqual(expect.arrayContaining(sent));
    }
  });

  test("sending OPTIONS without a preflight gets the protocol's own response", async () => {
    const response = await send("OPTIONS", "/uploads", { ...cors, headers: { Origin: ORIGIN } });
    expect(response.has("Access-Control-Allow-Origin", "Tus-Version")).toEqual({
      "Access-Control-Allow-Origin": ORIGIN,
      "Tus-Version": "1.0.0",
    });
  });
});

describe("the protocol", () => {
  test.each<[string, Record<string, string | number>, "tus" | "ietf"]>([
    ["the version of tus", { ...TUS, "Upload-Length": 5 }, "tus"],
    ["the version of the draft", { ...IETF, "Upload-Complete": "?0" }, "ietf"],
    ["both versions", { ...TUS, ...IETF, "Upload-Complete": "?0", "Upload-Length": 5 }, "ietf"],
    ["only what the draft has", { "Upload-Complete": "?0", "Upload-Length": 5 }, "ietf"],
    ["only what early drafts had", { "Upload-Incomplete": "?1" }, "ietf"],
  ])("follows from %s", async (_name, headers, protocol) => {
    const response = await send("POST", "/uploads", { headers });
    expect(response.status).toBe(201);
    expect(response.headers.has("Tus-Resumable")).toBe(protocol === "tus");
    expect(response.headers.has("Upload-Draft-Interop-Version")).toBe(protocol === "ietf");
  });

  test("of an upload may change: one created in tus is read and completed in the draft", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    await patchTus(path, 0, "hel");
    const head = await send("HEAD", path, { headers: IETF });
    expect([head.status, head.headers.get("Upload-Offset"), head.headers.get("Upload-Complete")]).toEqual([
      204,
      "3",
      "?0",
    ]);
    const headers = { ...WHOLE, "Upload-Offset": 3, "Content-Type": "application/partial-upload" };
    expect((await send("PATCH", path, { body: "lo", headers })).status).toBe(200);
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe("5");
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("of an upload may change: one created in the draft is completed in tus", async () => {
    const headers = { ...IETF, "Upload-Complete": "?0", "Upload-Length": 5 };
    const path = pathOf(await send("POST", "/uploads", { headers }));
    expect((await patchTus(path, 0, "hello")).status).toBe(204);
    expect((await fileOf(path)).status).toBe(200);
  });
});

describe("X-HTTP-Method-Override on POST", () => {
  const override = async (path: string, method: string, options: Parameters<typeof send>[2] = {}) =>
    send("POST", path, {
      ...options,
      headers: { ...TUS, ...options.headers, "X-HTTP-Method-Override": method },
    });

  test("appends, reads and removes as the method itself would", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const headers = { ...CHUNK, "Upload-Offset": 0 };
    const patched = await override(path, "PATCH", { body: "hel", headers });
    expect([patched.status, patched.headers.get("Upload-Offset")]).toEqual([204, "3"]);
    const head = await override(path, "head");
    expect([head.status, head.headers.get("Upload-Offset"), head.text]).toEqual([200, "3", ""]);
    expect((await override(path, "DELETE")).status).toBe(204);
    expect((await headTus(path)).status).toBe(404);
  });

  test.each([
    ["/uploads", "POST", 201],
    ["/uploads", "PATCH", 405],
    ["/uploads", "DELETE", 405],
    [NO_UPLOAD, "PUT", 405],
    [NO_UPLOAD, "POST", 405],
    [NO_UPLOAD, "PATCH", 404],
  ])("to %s with %s gives %i", async (path, method, status) => {
    const headers = { ...CHUNK, "Upload-Length": 5, "Upload-Offset": 0 };
    const response = await override(path, method, { headers });
    expect([response.status, response.headers.has("Allow")]).toEqual([status, status === 405]);
  });

  test("a POST to an upload without it is rejected", async () => {
    expect((await send("POST", await createTus({ "Upload-Length": 5 }), { headers: TUS })).status).toBe(405);
  });

  test.each(["/uploads", "/uploads/", NO_UPLOAD])(
    "PUT is not a method of %s, and Allow names each once",
    async (path) => {
      const response = await send("PUT", path, { headers: TUS });
      const allowed = response.headers.get("Allow")?.split(", ") ?? [];
      expect([response.status, allowed.length]).toEqual([405, new Set(allowed).size]);
      expect(allowed).toEqual(expect.arrayContaining(["POST", "OPTIONS"]));
    },
  );
});

describe("GET", () => {
  test("returns the state of an upload that is under way, as JSON", async () => {
    const path = await createTus({
      "Upload-Length": 5,
      ...metadata({ filename: "a.txt", filetype: "text/plain" }),
    });
    await patchTus(path, 0, "hel");
    const { status, headers, body } = await callForJson(path);
    expect([status, headers.get("Upload-Offset"), headers.get("Cache-Control")]).toEqual([
      200,
      "3",
      "no-store",
    ]);
    expect(body).toEqual({
      id: idOf(path),
      offset: 3,
      length: 5,
      isComplete: false,
      filename: "a.txt",
      contentType: "text/plain",
      expiresAt: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  test("returns the file of a finished upload, with the same headers as GET of the file", async () => {
    const path = await uploadTus("hello", metadata({ filename: "a.txt", filetype: "text/plain" }));
    const [file, upload] = [await fileOf(path), await send("GET", path)];
    expect([upload.status, upload.text]).toEqual([200, "hello"]);
    const own = ["x-request-id", "cf-ray"];
    for (const [name, value] of file.headers) {
      if (!own.includes(name)) expect([name, upload.headers.get(name)]).toEqual([name, value]);
    }
    expect(upload.has("Upload-Offset", "Upload-Length", "Content-Location", "Tus-Resumable")).toEqual({
      "Upload-Offset": "5",
      "Upload-Length": "5",
      "Content-Location": `http://localhost/files/${idOf(path)}`,
      "Tus-Resumable": "1.0.0",
    });
  });

  test("of the file takes ranges, preconditions and a disposition", async () => {
    const path = await uploadTus("hello", metadata({ filename: "a.txt", filetype: "text/plain" }));
    const range = await send("GET", path, { headers: { Range: "bytes=1-2" } });
    expect([range.status, range.text, range.headers.get("Content-Range")]).toEqual([
      206,
      "el",
      "bytes 1-2/5",
    ]);
    expect((await send("GET", path, { headers: { Range: "bytes=9-" } })).status).toBe(416);
    const etag = range.headers.get("ETag") ?? "";
    expect((await send("GET", path, { headers: { "If-None-Match": etag } })).status).toBe(304);
    expect((await send("GET", path, { headers: { "If-Match": '"x"' } })).status).toBe(412);
    const inline = await send("GET", `${path}?disposition=inline`);
    expect(inline.headers.get("Content-Disposition")).toMatch(/^inline/);
    expect((await send("GET", `${path}?disposition=x`)).status).toBe(422);
  });

  test.each(["tus", "the draft"])("of the file also speaks %s if the request does", async (protocol) => {
    const path = await uploadTus("hello");
    const isTus = protocol === "tus";
    const response = await send("GET", path, { headers: isTus ? TUS : IETF });
    expect([response.status, response.text, response.headers.get("Upload-Offset")]).toEqual([
      200,
      "hello",
      "5",
    ]);
    expect(response.headers.get("Upload-Complete")).toBe(isTus ? null : "?1");
    const other = await send("GET", path, { headers: { "Tus-Resumable": "0.2.2" } });
    expect([other.status, other.headers.get("Tus-Version")]).toEqual([412, "1.0.0"]);
  });

  test("of the file is gone with the file", async () => {
    const path = await uploadTus("hello");
    await send("DELETE", `/files/${idOf(path)}`);
    expect((await send("GET", path)).status).toBe(404);
    expect((await headTus(path)).status).toBe(200);
  });

  test("of a partial upload returns its state, also when it is finished", async () => {
    const path = await uploadTus("hello", PARTIAL);
    expect((await callForJson(path)).body).toMatchObject({ offset: 5, isComplete: true });
  });

  test("of an upload of unknown length has a null length", async () => {
    const path = await createTus({ "Upload-Defer-Length": 1 });
    expect((await callForJson(path)).body).toMatchObject({ offset: 0, length: null });
  });
});

describe("access", () => {
  const READER = "reader-token-0123456789-0123456789";
  const WRITER = "writer-token-0123456789-0123456789";
  const SLUICE_TOKENS = [
    { name: "reader", scopes: ["read"], token: READER },
    { name: "writer", scopes: ["write"], token: WRITER },
  ];
  const remote = { site: "https://sluice.example.com", variables: { ACCESS: "tokens", SLUICE_TOKENS } };

  test.each([
    ["POST", "/uploads", 201],
    ["HEAD", NO_UPLOAD, 404],
    ["PATCH", NO_UPLOAD, 404],
    ["POST", NO_UPLOAD, 405],
    ["DELETE", NO_UPLOAD, 404],
  ])("%s %s needs a token that may write, and responds in tus without one", async (method, path, status) => {
    const request = async (token?: string) => {
      const headers = { ...CHUNK, "Upload-Length": 5, "Upload-Offset": 0 };
      const shown = token === undefined ? headers : { ...headers, Authorization: `Bearer ${token}` };
      const response = await send(method, path, { ...remote, headers: shown });
      expect(response.headers.get("Tus-Resumable")).toBe("1.0.0");
      return response.status;
    };
    expect([await request(), await request(READER), await request(WRITER)]).toEqual([401, 403, status]);
  });

  test("GET needs a token that may read, and one that may write too if it stops a writer", async () => {
    const BOTH = "both-token-0123456789-0123456789--";
    const variables = {
      ...remote.variables,
      SLUICE_TOKENS: [...SLUICE_TOKENS, { name: "both", scopes: ["read", "write"], token: BOTH }],
    };
    const statuses = async (path: string) =>
      Promise.all(
        [undefined, READER, WRITER, BOTH].map(async (token) => {
          const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
          return (await send("GET", path, { ...remote, variables, headers })).status;
        }),
      );
    expect(await statuses(NO_UPLOAD)).toEqual([401, 404, 403, 404]);
    expect(await statuses(await uploadTus("hello"))).toEqual([401, 200, 403, 200]);
    expect(await statuses(await createTus({ "Upload-Length": 5 }))).toEqual([401, 403, 403, 200]);
  });
});

describe("what the creation says about the file", () => {
  test.each<[string, Record<string, string>, Record<string, string>]>([
    [
      "filename and filetype",
      { filename: "ä b.txt", filetype: "text/plain" },
      { filename: "ä b.txt", contentType: "text/plain" },
    ],
    ["name and type", { name: "a.png", type: "image/png" }, { filename: "a.png", contentType: "image/png" }],
    [
      "a path",
      { filename: "../../etc/passwd" },
      { filename: "passwd", contentType: "application/octet-stream" },
    ],
    [
      "an invalid type",
      { filename: "x", filetype: "x\r\nEvil: 1" },
      { filename: "x", contentType: "application/octet-stream" },
    ],
  ])("in tus, metadata: %s", async (_name, entries, expected) => {
    const path = await uploadTus("hello", metadata(entries));
    expect(await listed(path)).toMatchObject(expected);
  });

  test.each<[string, Record<string, string>, Record<string, string>]>([
    [
      "Content-Disposition and Content-Type",
      {
        "Content-Disposition": "attachment; filename*=UTF-8''%C3%A4.txt",
        "Content-Type": "text/plain; charset=x",
      },
      { filename: "ä.txt", contentType: "text/plain; charset=x" },
    ],
    [
      "metadata, as tus-js-client sends it in the draft",
      {
        ...metadata({ filename: "a.png", filetype: "image/png" }),
        "Content-Type": "application/partial-upload",
      },
      { filename: "a.png", contentType: "image/png" },
    ],
  ])("in the draft, %s", async (_name, headers, expected) => {
    const { body } = await send("POST", "/uploads", { body: "hello", headers: { ...WHOLE, ...headers } });
    expect(body).toMatchObject(expected);
  });

  test("without a name, the file is named by its id", async () => {
    const path = await uploadTus("hello");
    expect(await listed(path)).toMatchObject({ filename: idOf(path) });
  });

  test.each([
    ["of 255 bytes", "x".repeat(255), 201],
    ["that is too long", "x".repeat(256), 422],
  ])("a name %s", async (_name, filename, status) => {
    const headers = { ...TUS, "Upload-Length": 5, ...metadata({ filename }) };
    expect((await send("POST", "/uploads", { headers })).status).toBe(status);
  });
});

describe("expires_in", () => {
  test.each<[string, string, Record<string, string>]>([
    ["as a query parameter", "?expires_in=60", {}],
    ["as metadata", "", metadata({ expires_in: "60" })],
    ["as metadata, which takes precedence", "?expires_in=9999", metadata({ expires_in: "60" })],
  ])("%s sets when the file expires, counted from its completion", async (_name, query, headers) => {
    const created = await send("POST", `/uploads${query}`, {
      headers: { ...TUS, "Upload-Length": 5, ...headers },
    });
    await patchTus(pathOf(created), 0, "hello");
    const { modifiedAt, expiresAt } = await listed(pathOf(created));
    const seconds = (Date.parse(expiresAt) - Date.parse(modifiedAt)) / 1000;
    expect(seconds).toBeGreaterThan(55);
    expect(seconds).toBeLessThanOrEqual(60);
  });

  test.each(["0", "-1", "soon", "99999999999"])("of %s is rejected", async (text) => {
    const asQuery = await send("POST", `/uploads?expires_in=${text}`, { body: "x", headers: WHOLE });
    const headers = { ...TUS, "Upload-Length": 5, ...metadata({ expires_in: text }) };
    const asMetadata = await send("POST", "/uploads", { headers });
    expect([asQuery.status, asMetadata.status]).toEqual([422, 422]);
    expect(asMetadata.body?.errors[0].at).toBe("query/expires_in");
  });
});

describe("task", () => {
  test("starts with the file once it is complete, and the response has its URL", async () => {
    const path = await createTus({ "Upload-Length": 5, ...metadata({ task: "verify_file" }) });
    await patchTus(path, 0, "hel");
    expect((await headTus(path)).headers.get("Link")).toBeNull();
    const link = (await patchTus(path, 3, "lo")).headers.get("Link");
    expect(link).toMatch(/^<http:\/\/localhost\/tasks\/[^>]+>; rel="monitor"$/);
    expect((await headTus(path)).headers.get("Link")).toBe(link);
    const task = new URL(String(link?.slice(1, link.indexOf(">")))).pathname;
    await expect.poll(async () => (await callForJson(task)).body.status).toBe("succeeded");
    expect((await callForJson(task)).body).toMatchObject({
      input: { fileId: idOf(path) },
      result: { size: 5, sha256: sha256("hello") },
    });
  });

  test("is in the draft's response too", async () => {
    const response = await send("POST", "/uploads?task=verify_file", { body: "hello", headers: WHOLE });
    expect(response.headers.get("Link")).toBe(`<${response.body?.task.url}>; rel="monitor"`);
  });

  test("that does not take a file is rejected before an upload is created", async () => {
    const response = await send("POST", "/uploads?task=no_such_task", { body: "hello", headers: WHOLE });
    expect([response.status, response.body?.errors[0].at]).toEqual([422, "query/task"]);
    expect(response.headers.has("Location")).toBe(false);
  });
});

test.each(["not-a-uuid", "0190a2b4", "%00", "x".repeat(500)])(
  "there is no upload with the id %j",
  async (id) => {
    for (const headers of [TUS, IETF]) {
      for (const method of ["HEAD", "GET", "DELETE"]) {
        expect((await send(method, `/uploads/${id}`, { headers })).status).toBe(404);
      }
    }
  },
);

test("a request for an upload that does not exist leaves no state behind", async () => {
  for (const method of ["HEAD", "DELETE"]) await send(method, NO_UPLOAD, { headers: TUS });
  await patchTus(NO_UPLOAD, 0, "hello");
  expect(await storageOf(NO_UPLOAD)).toEqual({ keys: [], alarm: null });
});

test("two concurrent uploads do not affect each other", async () => {
  const [a, b] = [await createTus({ "Upload-Length": 6 }), await createTus({ "Upload-Length": 6 })];
  for (const [offset, ofA, ofB] of [
    [0, "aaa", "bbb"],
    [3, "AAA", "BBB"],
  ] as const) {
    const responses = await Promise.all([patchTus(a, offset, ofA), patchTus(b, offset, ofB)]);
    expect(responses.map(({ status }) => status)).toEqual([204, 204]);
  }
  expect([(await fileOf(a)).sha256, (await fileOf(b)).sha256]).toEqual([sha256("aaaAAA"), sha256("bbbBBB")]);
});
