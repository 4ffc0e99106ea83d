/** What requests to /uploads may say, in either protocol: paths, empty bodies, digests, codings, numbers, URLs. */
import { describe, expect, test, vi } from "vitest";
import { UploadSession } from "../../../src/files/index.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  CHUNK,
  createTus,
  digest,
  fileOf,
  headTus,
  holdersOf,
  idOf,
  PARTIAL,
  patchTus,
  pathOf,
  postTus,
  send,
  storedRecord,
  TUS,
  TUS_TYPE,
  uploadTus,
  withoutLength,
} from "../../support/uploads.ts";

keepQuiet();

type Headers = Record<string, string | number>;

const DRAFT = { "Upload-Draft-Interop-Version": 8 };
const DRAFT_TYPE = { "Content-Type": "application/partial-upload" };

/** Both protocols: a creation without bytes, one with `hello` in it, and an append of `hello`. */
const PROTOCOLS = {
  tus: {
    create: async (headers: Headers = {}) => postTus({ "Upload-Length": 5, ...headers }),
    createWith: async (headers: Headers = {}) =>
      postTus({ "Upload-Length": 5, ...TUS_TYPE, ...headers }, "hello"),
    append: async (path: string, headers: Headers = {}) => patchTus(path, 0, "hello", { headers }),
  },
  draft: {
    create: async (headers: Headers = {}) =>
      send("POST", "/uploads", { headers: { ...DRAFT, "Upload-Complete": "?0", ...headers } }),
    createWith: async (headers: Headers = {}) =>
      send("POST", "/uploads", { body: "hello", headers: { ...DRAFT, "Upload-Complete": "?1", ...headers } }),
    append: async (path: string, headers: Headers = {}) =>
      send("PATCH", path, {
        body: "hello",
        headers: { ...DRAFT, ...DRAFT_TYPE, "Upload-Offset": 0, "Upload-Complete": "?1", ...headers },
      }),
  },
};
const NAMES = ["tus", "draft"] as const;

const offsetOf = async (path: string) => (await headTus(path)).headers.get("Upload-Offset");

describe("a slash at the end of the path", () => {
  test.each(NAMES)("is as good as none, in %s", async (name) => {
    const headers = name === "tus" ? { ...TUS, "Upload-Length": 5 } : { ...DRAFT, "Upload-Complete": "?0" };
    const created = await send("POST", "/uploads/", { headers });
    expect(created.status).toBe(201);
    const path = pathOf(created);
    expect(path).toMatch(/^\/uploads\/[\w-]{36}$/);
    expect((await PROTOCOLS[name].append(`${path}/`)).status).toBeLessThan(300);
    expect((await send("HEAD", `${path}/`, { headers: TUS })).headers.get("Upload-Offset")).toBe("5");
    expect((await send("GET", `${path}/`)).text).toBe("hello");
    expect((await send("DELETE", `${path}/`, { headers: TUS })).status).toBe(204);
  });

  test("of an endpoint works with OPTIONS, and Upload-Concat may have it", async () => {
    expect((await send("OPTIONS", "/uploads/")).headers.get("Tus-Version")).toBe("1.0.0");
    const part = await uploadTus("hello", PARTIAL);
    for (const [endpoint, url] of [
      ["/uploads/", `${part}/`],
      ["/uploads/", idOf(part)],
      ["/uploads", `http://localhost${part}/`],
    ] as const) {
      const headers = { ...TUS, "Upload-Concat": `final;${url}` };
      const response = await send("POST", endpoint, { headers });
      expect([url, response.status]).toEqual([url, 201]);
      expect((await fileOf(pathOf(response))).sha256).toBe(sha256("hello"));
    }
  });
});

describe("a body without bytes is empty however it is framed", () => {
  const empty = () => withoutLength("");

  test.each<[string, Headers]>([
    ["a creation", { "Upload-Length": 5 }],
    ["of unknown length", { "Upload-Defer-Length": 1 }],
    ["of no bytes", { "Upload-Length": 0 }],
    ["of a partial upload", { "Upload-Length": 5, ...PARTIAL }],
    ["with the type of a form", { "Upload-Length": 5, "Content-Type": "application/x-www-form-urlencoded" }],
    ["with the type of bytes", { "Upload-Length": 5, ...TUS_TYPE }],
  ])("tus: %s", async (_name, headers) => {
    expect((await postTus(headers, empty())).status).toBe(201);
  });

  test("tus: of a final upload", async () => {
    const part = await uploadTus("hello", PARTIAL);
    const response = await postTus({ "Upload-Concat": `final;${part}` }, empty());
    expect(response.status).toBe(201);
    expect((await postTus({ "Upload-Concat": `final;${part}` }, withoutLength("x"))).status).toBe(400);
  });

  test("tus: one with bytes still needs their type", async () => {
    expect((await postTus({ "Upload-Length": 5 }, withoutLength("hello"))).status).toBe(415);
  });

  test("tus: an append to a complete upload gets the response of the one before", async () => {
    const path = await uploadTus("hello");
    expect((await patchTus(path, 5, empty())).status).toBe(204);
    expect((await patchTus(path, 5, withoutLength("!"))).status).toBe(413);
  });

  test("the draft: a creation, and the request that completes it", async () => {
    const headers = { ...DRAFT, "Upload-Complete": "?0" };
    const path = pathOf(await send("POST", "/uploads", { body: empty(), headers }));
    const last = {
      ...DRAFT,
      ...DRAFT_TYPE,
      "Upload-Offset": 0,
      "Upload-Complete": "?1",
    };
    expect((await send("PATCH", path, { body: empty(), headers: last })).status).toBe(200);
    expect(await fileOf(path)).toMatchObject({ status: 200, size: 0 });
    const gone = await send("PATCH", path, { body: empty(), headers: last });
    expect(gone.status).toBe(410);
    const bytes = await send("PATCH", path, { body: withoutLength("x"), headers: last });
    expect(bytes.body?.type).toContain("inconsistent-upload-length");
  });
});

describe("a digest", () => {
  const sf = (algorithm: string, bytes: string) =>
    `${algorithm}=:${digest(algorithm === "sha" ? "sha1" : algorithm.replace("-", ""), bytes)}:`;
  const OF_CONTENT: [string, (bytes: string) => string][] = [
    ["Content-Digest", (bytes) => sf("sha-256", bytes)],
    ["Content-Digest", (bytes) => sf("sha-512", bytes)],
    ["Content-Digest", (bytes) => `${sf("sha-512", "hello")}, ${sf("sha-256", bytes)}`],
    ["Content-MD5", (bytes) => digest("md5", bytes)],
    ["Upload-Checksum", (bytes) => `sha256 ${digest("sha256", bytes)}`],
  ];
  const rows = NAMES.flatMap((name) => OF_CONTENT.map(([field, of]) => ({ name, field, of })));

  test.each(rows)("of the content is verified in $name: $field", async ({ name, field, of }) => {
    const { create, createWith, append } = PROTOCOLS[name];
    const status = field === "Upload-Checksum" ? 460 : 400;
    const path = pathOf(await create());
    const wrong = await append(path, { [field]: of("HELLO") });
    expect([wrong.status, wrong.headers.get("Upload-Offset")]).toEqual([status, "0"]);
    expect(await offsetOf(path)).toBe("0");
    expect((await append(path, { [field]: of("hello") })).status).toBeLessThan(300);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    expect((await createWith({ [field]: of("HELLO") })).status).toBe(status);
    expect((await createWith({ [field]: of("hello") })).status).toBe(201);
  });

  test.each(rows)("of no content is verified too, in $name: $field", async ({ name, field, of }) => {
    const { create } = PROTOCOLS[name];
    const status = field === "Upload-Checksum" ? 460 : 400;
    expect((await create({ [field]: of("hello") })).status).toBe(status);
    if (!of("").includes(",")) expect((await create({ [field]: of("") })).status).toBe(201);
  });

  test("beside the one of the protocol is verified as well", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const checksum = { "Upload-Checksum": `sha1 ${digest("sha1", "hello")}` };
    const wrong = await patchTus(path, 0, "hello", {
      headers: { ...checksum, "Content-MD5": digest("md5", "x") },
    });
    expect([wrong.status, await offsetOf(path)]).toEqual([400, "0"]);
    expect(wrong.body?.detail).toContain("Content-MD5");
  });

  test.each(NAMES)("of the whole is verified at its end, in %s", async (name) => {
    const { create, createWith, append } = PROTOCOLS[name];
    const whole = (bytes: string) => ({ "Repr-Digest": sf("sha-256", bytes) });
    const path = pathOf(await create(whole("HELLO")));
    expect((await append(path)).status).toBe(400);
    expect([(await headTus(path)).status, (await fileOf(path)).status]).toEqual([404, 404]);
    expect((await append(pathOf(await create(whole("hello"))))).status).toBeLessThan(300);
    expect((await createWith(whole("HELLO"))).status).toBe(400);
    expect((await createWith(whole("hello"))).status).toBe(201);
  });

  test.each(NAMES)("that cannot be verified is rejected, in %s, and nothing is appended", async (name) => {
    const { create, createWith, append } = PROTOCOLS[name];
    const path = pathOf(await create());
    for (const headers of [
      { "Repr-Digest": sf("sha-256", "hello") }, // the draft has it in the creation alone
      { "Content-Digest": "crc32c=:AAAAAA==:" },
      { "Content-Digest": "sha-256=AAAA" },
      { "Content-MD5": "AAAA" },
      { Digest: `SHA-256=${digest("sha256", "hello")}` },
      { "X-Goog-Hash": "crc32c=AAAAAA==" },
      { "Upload-Checksum": "crc32 AAAAAA==" },
      { Trailer: "Upload-Checksum" },
    ]) {
      const response = await append(path, headers);
      expect([headers, response.status]).toEqual([headers, 400]);
      if (!("Repr-Digest" in headers)) expect((await createWith(headers)).status).toBe(400);
    }
    expect((await createWith({ "Repr-Digest": sf("sha-512", "hello") })).status).toBe(400);
    expect(await offsetOf(path)).toBe("0");
  });

  test.each([
    ["shorter than any of its algorithm", "sha1 AAAA", 460],
    ["longer", `sha1 ${digest("sha512", "hello")}`, 460],
    ["of an algorithm that is not known", "crc32 AAAA", 400],
    ["of none", "AAAA", 400],
    ["that is not base64", "sha1 A", 400],
    ["that is right", `sha1 ${digest("sha1", "hello")}`, 204],
  ])("in Upload-Checksum %s", async (_name, checksum, status) => {
    const path = await createTus({ "Upload-Length": 5 });
    const response = await patchTus(path, 0, "hello", { headers: { "Upload-Checksum": checksum } });
    expect([response.status, await offsetOf(path)]).toEqual([status, status === 204 ? "5" : "0"]);
  });
});

describe("a Content-Encoding", () => {
  test.each(NAMES)("is rejected in %s, because the bytes are stored as they arrive", async (name) => {
    const { create, createWith, append } = PROTOCOLS[name];
    const path = pathOf(await create());
    for (const coding of ["gzip", "br", "identity, gzip", "GZIP"]) {
      const headers = { "Content-Encoding": coding };
      const responses = [await create(headers), await createWith(headers), await append(path, headers)];
      for (const response of responses) {
        expect([coding, response.status, response.headers.get("Accept-Encoding")]).toEqual([
          coding,
          415,
          "identity",
        ]);
      }
    }
    expect(await offsetOf(path)).toBe("0");
    expect((await append(path, { "Content-Encoding": "identity" })).status).toBeLessThan(300);
  });

  test.each(NAMES)("is not all: nor may the bytes be in base64, in %s", async (name) => {
    const { createWith, append } = PROTOCOLS[name];
    const headers = { "Content-Transfer-Encoding": "base64" };
    expect((await createWith(headers)).status).toBe(415);
    const path = pathOf(await PROTOCOLS[name].create());
    expect([(await append(path, headers)).status, await offsetOf(path)]).toEqual([415, "0"]);
    expect((await append(path, { "Content-Transfer-Encoding": "binary" })).status).toBeLessThan(300);
  });

  test.each(NAMES)("is not all: a Content-Range is rejected too, in %s", async (name) => {
    const { create, createWith, append } = PROTOCOLS[name];
    const headers = { "Content-Range": "bytes 0-4/10" };
    expect((await createWith(headers)).status).toBe(400);
    expect((await append(pathOf(await create()), headers)).status).toBe(400);
  });
});

test.each(NAMES)("a parameter of the media type of the bytes does not matter, in %s", async (name) => {
  const { create, append } = PROTOCOLS[name];
  const type = (name === "tus" ? TUS_TYPE : DRAFT_TYPE)["Content-Type"];
  const headers = { "Content-Type": `${type.toUpperCase()} ; charset=utf-8` };
  expect((await append(pathOf(await create()), headers)).status).toBeLessThan(300);
});

describe("a number", () => {
  const HUGE = ["1125899906842624", "9007199254740993", "18446744073709551616", "9".repeat(400)];

  test.each(HUGE)("of %s bytes is too large, not malformed", async (number) => {
    const length = { "Upload-Length": number };
    expect((await PROTOCOLS.tus.create(length)).status).toBe(413);
    const draft = await PROTOCOLS.draft.create(length);
    expect([draft.status, draft.headers.has("Upload-Limit")]).toEqual([413, true]);
    const path = await createTus({ "Upload-Defer-Length": 1 });
    expect((await patchTus(path, 0, "hello", { headers: length })).status).toBe(413);
    const late = await PROTOCOLS.draft.append(pathOf(await PROTOCOLS.draft.create()), length);
    expect([late.status, late.headers.has("Upload-Limit")]).toEqual([413, true]);
    expect((await storedRecord(path)).offset).toBe(0);
  });

  test.each(HUGE)("as an offset, %s is another offset", async (number) => {
    const offset = { "Upload-Offset": number };
    for (const name of NAMES) {
      const { create, append } = PROTOCOLS[name];
      const response = await append(pathOf(await create()), offset);
      expect([response.status, response.headers.get("Upload-Offset")]).toEqual([409, "0"]);
    }
  });

  test.each(["1e3", "0x10", "+5", "-5", "5.0", "5 5", "5, 5", "٥", "five"])(
    "%j is malformed in tus",
    async (text) => {
      expect((await postTus({ "Upload-Length": encodeURI(text) })).status).toBe(400);
      const path = await createTus({ "Upload-Length": 5 });
      expect((await patchTus(path, encodeURI(text), "hello")).status).toBe(400);
    },
  );

  test("with zeros before it, or no bytes, is one", async () => {
    expect((await headTus(await createTus({ "Upload-Length": "005" }))).headers.get("Upload-Length")).toBe(
      "5",
    );
    expect((await postTus({ "Upload-Length": 0 })).status).toBe(201);
  });
});

describe("Upload-Concat", () => {
  const concat = async (list: string) => postTus({ "Upload-Concat": list });

  test.each<[string, (path: string) => string, number]>([
    ["an absolute URL here", (path) => `http://localhost${path}`, 201],
    ["one by the other scheme", (path) => `https://localhost${path}`, 201],
    ["an absolute path", (path) => path, 201],
    ["spaces around it", (path) => `  ${path}  `, 201],
    ["the URL of another host", (path) => `https://evil.example.com${path}`, 400],
    ["that of another port", (path) => `http://localhost:81${path}`, 400],
    ["one that only looks like ours", (path) => `http://localhost.evil.example.com${path}`, 400],
    ["another host without a scheme", (path) => `//evil.example.com${path}`, 400],
    ["another path", (path) => path.replace("/uploads/", "/files/"), 400],
    ["a path below an upload", (path) => `${path}/x`, 400],
    ["a path that ends like one", (path) => `/x${path}`, 400],
    ["another scheme", (path) => `ftp://localhost${path}`, 400],
    ["an id that is none", () => "/uploads/x", 400],
    ["one of no server", () => "http://", 400],
    ["one twice", (path) => `${path} ${path}`, 400],
    ["one in two spellings", (path) => `${path} http://localhost${path}/`, 400],
  ])("of %s", async (_name, urls, status) => {
    const path = await uploadTus("hello", PARTIAL);
    const response = await concat(`final;${urls(path)}`);
    expect([response.status, response.headers.has("Location")]).toEqual([status, status === 201]);
    expect(await holdersOf(path)).toEqual([]);
  });

  test("asks each session once, and lets go of each once", async () => {
    const paths = await Promise.all(
      Array.from({ length: 25 }, async () => createTus({ ...PARTIAL, "Upload-Length": 0 })),
    );
    const calls = [vi.spyOn(UploadSession.prototype, "pin"), vi.spyOn(UploadSession.prototype, "unpin")];
    expect((await concat(`final;${paths.join(" ")}`)).status).toBe(201);
    expect(calls.map(({ mock }) => mock.calls.length)).toEqual([25, 25]);
    for (const call of calls) call.mockRestore();
  });

  test("is none of the draft's", async () => {
    const path = await uploadTus("hello", PARTIAL);
    expect((await PROTOCOLS.draft.create({ "Upload-Concat": `final;${path}` })).status).toBe(400);
  });

  test("can name 100 partial uploads, and no more", async () => {
    const path = await createTus({ ...PARTIAL, "Upload-Length": 0 });
    const others = Array.from({ length: 100 }, () => `/uploads/${crypto.randomUUID()}`);
    const tooMany = await concat(`final;${[path, ...others].join(" ")}`);
    expect([tooMany.status, tooMany.body?.detail]).toEqual([413, expect.stringContaining("at most 100")]);
    // The last one does not exist, and nobody keeps the first for it.
    const missing = await concat(`final;${[path, ...others.slice(1)].join(" ")}`);
    expect([missing.status, await holdersOf(path)]).toEqual([400, []]);
  });

  test.each(["partial, partial", "Partial", "final", "final;", "final; ", "final,/uploads/x", ""])(
    "%j is malformed",
    async (text) => {
      expect((await postTus({ "Upload-Length": 5, "Upload-Concat": text })).status).toBe(400);
    },
  );
});

describe("a protocol's field that comes twice", () => {
  const twice = (value: string | number) => `${value}, ${value}`;

  test.each<[string, Headers, number]>([
    ["Upload-Length", { "Upload-Length": twice(5) }, 400],
    ["Upload-Offset", { "Upload-Offset": twice(0) }, 400],
    ["Tus-Resumable", { "Tus-Resumable": twice("1.0.0") }, 412],
    ["Upload-Checksum", { "Upload-Checksum": twice(`sha1 ${digest("sha1", "hello")}`) }, 400],
    ["Content-Type", { "Content-Type": twice(CHUNK["Content-Type"]) }, 415],
  ])("is rejected in tus: %s", async (_name, headers, status) => {
    const path = await createTus({ "Upload-Length": 5 });
    expect((await patchTus(path, 0, "hello", { headers })).status).toBe(status);
    expect(await offsetOf(path)).toBe("0");
  });

  test("is rejected in a creation: Upload-Defer-Length, Upload-Metadata with a key twice", async () => {
    expect((await postTus({ "Upload-Defer-Length": twice(1) })).status).toBe(400);
    const metadata = { "Upload-Metadata": twice("filename YS50eHQ=") };
    expect((await postTus({ "Upload-Length": 5, ...metadata })).status).toBe(400);
  });
});

describe("a precondition", () => {
  test("that does not hold stops DELETE of a finished upload; its file stays", async () => {
    const path = await uploadTus("hello");
    const etag = (await fileOf(path)).headers.get("ETag") ?? "";
    for (const header of [{ "If-Match": '"x"' }, { "If-None-Match": etag }, { "If-None-Match": "*" }]) {
      const response = await send("DELETE", path, { headers: { ...TUS, ...header } });
      expect([header, response.status]).toEqual([header, 412]);
    }
    expect((await fileOf(path)).headers.get("ETag")).toBe(etag);
    expect((await send("DELETE", path, { headers: { ...TUS, "If-Match": etag } })).status).toBe(204);
  });

  test("holds for an upload under way if it asks only for that", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const refused = await patchTus(path, 0, "he", { headers: { "If-Match": '"x"' } });
    expect([refused.status, refused.headers.get("Upload-Offset")]).toEqual([412, "0"]);
    expect((await patchTus(path, 0, "he", { headers: { "If-Match": "*" } })).status).toBe(204);
  });
});

describe("a request that names no protocol", () => {
  const bare = async (method: string, path: string) => send(method, path);

  test.each(["HEAD", "DELETE", "PATCH"])("gets tus's refusal on an upload in tus: %s", async (method) => {
    const path = await createTus({ "Upload-Length": 5 });
    const response = await bare(method, path);
    expect([response.status, response.has("Tus-Version", "Tus-Resumable")]).toEqual([
      412,
      { "Tus-Version": "1.0.0", "Tus-Resumable": "1.0.0" },
    ]);
    expect(await offsetOf(path)).toBe("0");
  });

  test("also on one that is complete, or final", async () => {
    const part = await uploadTus("hello", PARTIAL);
    const final = pathOf(await postTus({ "Upload-Concat": `final;${part}` }));
    for (const path of [await uploadTus("hello"), part, final]) {
      for (const method of ["HEAD", "DELETE", "PATCH"]) expect((await bare(method, path)).status).toBe(412);
    }
  });

  test("by X-HTTP-Method-Override gets it as well", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const headers = { "X-HTTP-Method-Override": "DELETE" };
    expect((await send("POST", path, { headers })).status).toBe(412);
  });

  test("on an upload in the draft is one in the draft, which requires no header", async () => {
    const path = pathOf(await PROTOCOLS.draft.create());
    const head = await bare("HEAD", path);
    expect([head.status, head.has("Upload-Offset", "Upload-Complete", "Tus-Version")]).toEqual([
      204,
      { "Upload-Offset": "0", "Upload-Complete": "?0", "Tus-Version": null },
    ]);
    expect((await bare("PATCH", path)).status).toBe(400);
    expect((await bare("DELETE", path)).status).toBe(204);
  });

  test("GET is for everyone", async () => {
    expect((await bare("GET", await createTus({ "Upload-Length": 5 }))).status).toBe(200);
    expect((await bare("GET", await uploadTus("hello"))).text).toBe("hello");
  });
});
