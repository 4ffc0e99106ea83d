import { describe, expect, test } from "vitest";
import { callForJson } from "../../support/call.ts";
import { CHUNK, idOf, metadata, pathOf, send, TUS, TUS_TYPE } from "../../support/uploads.ts";

/** Not this machine: nobody has a token here. */
const site = "https://sluice.example";
const TEXT = { "Content-Type": "text/plain" };

/** The path of a new grant. */
async function grant(terms: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await callForJson("/uploads/grants", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ max_bytes: 10, expires_in: 60, ...terms }),
  });
  expect(status, JSON.stringify(body)).toBe(201);
  return new URL(String(body.url)).pathname;
}

const put = async (path: string, body: BodyInit, headers: Record<string, string> = TEXT) =>
  send("PUT", path, { site, body, headers });
const look = async (path: string) => (await callForJson(path)).body;
const fileOf = async (id: unknown) =>
  (await callForJson(`/files?prefix=${String(id)}`)).body.files as Record<string, unknown>[];

const tus = async (path: string, length: number, headers: Record<string, string> = {}) =>
  send("POST", path, { site, headers: { ...TUS, "Upload-Length": length, ...headers } });
const patch = async (path: string, offset: number, body: string) =>
  send("PATCH", path, { site, body, headers: { ...CHUNK, "Upload-Offset": offset } });

test("a file by PUT: it has the grant's prefix, owner and metadata, and the name that its uploader gave it", async () => {
  const path = await grant({
    prefix: "in-",
    name: "ada",
    metadata: { case: "7" },
    content_types: ["text/*"],
  });
  const { status, body } = await put(`${path}/a%20b.txt`, "hello");
  expect(status).toBe(201);
  expect(body).toMatchObject({ filename: "a b.txt", size: 5, owner: "grant:ada", metadata: { case: "7" } });
  expect(body?.id).toMatch(/^in-[0-9a-f-]{36}$/);
  expect(await fileOf(body?.id)).toMatchObject([{ owner: "grant:ada", metadata: { case: "7" } }]);
  expect(await look(path)).toMatchObject({ stored: 1, files: 1, underWay: 0, isRevoked: false });
});

test("a form, of as many files as are allowed", async () => {
  const path = await grant({ files: 2 });
  const form = (count: number) => {
    const data = new FormData();
    for (let i = 0; i < count; i++) data.append("file", new File(["x"], `${i}.txt`, { type: "text/plain" }));
    return data;
  };
  const [none, tooMany, all] = [
    await send("POST", path, { site, body: form(0) }),
    await send("POST", path, { site, body: form(3) }),
    await send("POST", path, { site, body: form(2) }),
  ];
  expect([none.status, tooMany.status, all.status]).toEqual([422, 409, 201]);
  expect(await look(path)).toMatchObject({ stored: 2 });
});

describe("what a grant does not allow is refused, and nothing is stored", () => {
  test.each<[string, number, Record<string, unknown>, string, Record<string, string>, string]>([
    ["(as many bytes as are allowed, to compare)", 201, {}, "0123456789", TEXT, ""],
    ["one byte more", 413, {}, "0123456789a", TEXT, ""],
    ["another type", 415, { content_types: ["image/*", "application/pdf"] }, "x", TEXT, ""],
    ["a type whose beginning is the same", 415, { content_types: ["text/pl"] }, "x", TEXT, ""],
    ["a task of its own", 403, {}, "x", TEXT, "?task=verify_file"],
    ["a lifetime of its own", 403, {}, "x", TEXT, "?expires_in=5"],
  ])("%s: %i", async (_, expected, terms, body, headers, query) => {
    const path = await grant(terms);
    expect((await put(path + query, body, headers)).status).toBe(expected);
    expect(await look(path)).toMatchObject({ stored: expected === 201 ? 1 : 0 });
  });

  test("a longer body whose length nobody knows: 413", async () => {
    const path = await grant();
    const body = new Blob(["0123456789a"]).stream();
    expect((await put(path, body)).status).toBe(413);
    expect(await look(path)).toMatchObject({ stored: 0 });
  });

  test("another grant, or one that was changed: 403", async () => {
    const path = await grant();
    const [text = "", signature = ""] = path.split(".");
    const longer = Buffer.from(text.slice("/uploads/grants/".length), "base64url")
      .toString()
      .replace('"files":1', '"files":9');
    const forged = `/uploads/grants/${Buffer.from(longer).toString("base64url")}.${signature}`;
    expect((await put(forged, "x")).status).toBe(403);
    expect((await send("DELETE", forged)).status).toBe(403);
  });
});

test("of uploads that come at once, as many are stored as the grant allows", async () => {
  const path = await grant({ files: 2 });
  const all = await Promise.all(Array.from({ length: 5 }, async () => put(path, "x")));
  expect(all.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 201, 409, 409, 409]);
  expect(await look(path)).toMatchObject({ stored: 2 });
});

describe("resumable", () => {
  test("tus: created, appended and asked under the URL of the grant", async () => {
    const path = await grant({ prefix: "t-", content_types: ["text/plain"] });
    const created = await tus(path, 6, metadata({ filename: "n.txt", filetype: "text/plain" }));
    expect(created.status, created.text).toBe(201);
    const upload = pathOf(created);
    expect(upload.startsWith(`${path}/t-`)).toBe(true);
    expect((await patch(upload, 0, "abc")).status).toBe(204);
    expect((await send("HEAD", upload, { site, headers: TUS })).has("Upload-Offset")).toEqual({
      "Upload-Offset": "3",
    });
    expect(await look(path)).toMatchObject({ stored: 0, underWay: 1 });
    expect((await patch(upload, 3, "def")).status).toBe(204);
    expect(await look(path)).toMatchObject({ stored: 1, underWay: 0 });
    expect(await fileOf(idOf(upload))).toMatchObject([{ filename: "n.txt", size: 6 }]);
    // The file is not its uploader's to remove.
    await send("DELETE", upload, { site, headers: TUS });
    expect(await fileOf(idOf(upload))).toHaveLength(1);
    expect((await tus(path, 1)).status).toBe(409);
  });

  test("the IETF draft, in one request", async () => {
    const path = await grant();
    const created = await send("POST", path, {
      site,
      body: "abc",
      headers: { ...TEXT, "Upload-Complete": "?1", "Upload-Draft-Interop-Version": 10 },
    });
    expect(created.status, created.text).toBeLessThan(202);
    expect(await look(path)).toMatchObject({ stored: 1, underWay: 0 });
  });

  test("an upload that is under way has a place, and gives it back when it is removed", async () => {
    const path = await grant();
    const upload = pathOf(await tus(path, 5));
    expect((await tus(path, 5)).status).toBe(409);
    expect((await put(path, "x")).status).toBe(409);
    expect((await send("DELETE", upload, { site, headers: TUS })).status).toBe(204);
    expect((await put(path, "x")).status).toBe(201);
  });

  test("lengths and types are held there too, and other uploads cannot be reached", async () => {
    const path = await grant({ content_types: ["text/plain"], files: 3 });
    const typed = metadata({ filetype: "text/plain" });
    expect((await tus(path, 11, typed)).status).toBe(413);
    expect((await tus(path, 5, metadata({ filetype: "image/png" }))).status).toBe(415);
    expect((await tus(path, 5, { ...typed, "Upload-Concat": "partial" })).status).toBe(403);
    const open = await send("POST", path, { site, headers: { ...TUS, ...typed, "Upload-Defer-Length": 1 } });
    const tooLong = await patch(pathOf(open), 0, "0123456789a");
    expect(tooLong.status).toBe(413);
    const other = await grant();
    const foreign = `${other}/${idOf(pathOf(open))}`;
    expect((await send("HEAD", foreign, { site, headers: TUS })).status).toBe(404);
    expect(await look(path)).toMatchObject({ stored: 0 });
  });

  test("a creation whose bytes are refused gives its place back", async () => {
    const path = await grant();
    const headers = {
      ...TUS,
      ...TUS_TYPE,
      "Upload-Length": 3,
      "Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    };
    expect((await send("POST", path, { site, headers, body: "abc" })).status).toBe(460);
    expect(await look(path)).toMatchObject({ stored: 0, underWay: 0 });
  });
});

test("revoked: nothing begins, nothing goes on, and what is stored stays", async () => {
  const path = await grant({ files: 3 });
  const stored = await put(path, "x");
  const upload = pathOf(await tus(path, 3));
  expect((await send("DELETE", path)).status).toBe(204);
  expect((await send("DELETE", path)).status).toBe(204);
  const refused = [await put(path, "x"), await tus(path, 3), await patch(upload, 0, "abc")];
  expect(refused.map(({ status }) => status)).toEqual([403, 403, 403]);
  expect(await look(path)).toMatchObject({ isRevoked: true, stored: 1 });
  expect(await fileOf(stored.body?.id)).toHaveLength(1);
});

test("to look at a grant, revoke it, or make one needs a token", async () => {
  const path = await grant();
  expect((await send("GET", path, { site })).status).toBe(401);
  expect((await send("DELETE", path, { site })).status).toBe(401);
  expect((await send("POST", "/uploads/grants", { site, body: "{}" })).status).toBe(401);
});

test("pages of any site can use it, and can look at nothing else", async () => {
  const path = await grant();
  const asked = { Origin: "https://any.example", "Access-Control-Request-Method": "PATCH" };
  const headers = { ...asked, "Access-Control-Request-Headers": "tus-resumable,upload-offset" };
  const preflight = await send("OPTIONS", `${path}/x`, { site, headers });
  expect(preflight.status).toBe(200);
  expect(preflight.headers.get("Access-Control-Allow-Origin")).toBe("*");
  expect(preflight.headers.get("Access-Control-Allow-Methods")).toContain("PATCH");
  expect(preflight.headers.get("Access-Control-Allow-Headers")).toBe("tus-resumable,upload-offset");
  expect((await send("OPTIONS", path, { site })).headers.get("Tus-Max-Size")).toBe("10");
  const refused = await put(path, "0123456789a", { ...TEXT, Origin: "https://any.example" });
  expect(refused.headers.get("Access-Control-Allow-Origin")).toBe("*");
  expect(refused.headers.get("Access-Control-Expose-Headers")).toContain("Upload-Offset");
  const looked = await send("GET", path, { headers: { Origin: "https://any.example" } });
  expect(looked.headers.get("Access-Control-Allow-Origin")).toBeNull();
});

test.each([
  ["a negative size", { max_bytes: -1 }],
  ["more than 30 days", { expires_in: 2_592_001 }],
  ["a type that is none", { content_types: ["image"] }],
  ["no file", { files: 0 }],
  ["a prefix with a slash", { prefix: "a/b" }],
  ["a task that does not exist", { task: "no_such_task" }],
  ["an unknown term", { colour: "red" }],
])("terms with %s are a 422", async (_, terms) => {
  const { status } = await callForJson("/uploads/grants", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ max_bytes: 10, expires_in: 60, ...terms }),
  });
  expect(status).toBe(422);
});
