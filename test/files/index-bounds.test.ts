/** What tokens that are bound see and touch of files and uploads: their own, or those with their prefix, and nothing else. */
import { reset } from "cloudflare:test";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { keepFiles } from "../../src/files/store/watch-files.ts";
import type { CallOptions } from "../support/call.ts";
import { FORM_TYPE, filePart, formBody } from "../support/form.ts";
import { keepQuiet } from "../support/quiet.ts";
import { changedCatalogue } from "../support/stored.ts";
import { CHUNK, metadata, PARTIAL, send, TUS, type UploadResponse } from "../support/uploads.ts";

keepQuiet();
beforeEach(() => reset());

const secretOf = (name: string) => `${name}-token-0123456789-0123456789-0123`;
const TOKENS = {
  root: { scopes: ["read", "write", "admin"] },
  ada: { scopes: ["read", "write", "own"] },
  bob: { scopes: ["read", "write", "own"] },
  a: { scopes: ["read", "write"], files: { prefix: "a-" } },
  both: { scopes: ["read", "write", "own"], files: { prefix: "a-" } },
};
type Name = keyof typeof TOKENS;

const variables = {
  ACCESS: "tokens",
  LINK_KEYS: "link-key-of-the-tests-0123456789-0123456789",
  SLUICE_TOKENS: Object.entries(TOKENS).map(([name, entry]) => ({ ...entry, name, token: secretOf(name) })),
};

type Options = Omit<CallOptions, "headers"> & { headers?: Record<string, string | number> };
const as = async (name: Name, method: string, path: string, { headers = {}, ...rest }: Options = {}) =>
  send(method, path, {
    variables,
    ...rest,
    site: "https://sluice.example.com",
    headers: { ...headers, Authorization: `Bearer ${secretOf(name)}` },
  });

const put = async (name: Name, id: string, body: string = name, more = {}) =>
  as(name, "PUT", `/files/${id}`, { body, variables: { ...variables, ...more } });
const filesIn = (body: UploadResponse["body"]) => (body?.files ?? []) as { id: string }[];
const idsOf = async (name: Name, query = "") => {
  const { body } = await as(name, "GET", `/files${query}`);
  return filesIn(body).map(({ id }) => id);
};
const pathOf = (location: string | null) => new URL(location ?? "").pathname;

describe("a file of somebody else", () => {
  beforeEach(async () => {
    await put("bob", "b-1", "of bob");
  });

  test.each<[Name, string, string, number]>([
    ["ada", "GET", "/files/b-1", 404],
    ["ada", "HEAD", "/files/b-1", 404],
    ["ada", "DELETE", "/files/b-1", 404],
    ["ada", "POST", "/files/b-1/links", 404],
    ["a", "GET", "/files/b-1", 404],
    ["a", "DELETE", "/files/b-1", 404],
    ["a", "POST", "/files/b-1/links", 404],
    ["bob", "GET", "/files/b-1", 200],
    ["bob", "HEAD", "/files/b-1", 200],
    ["bob", "POST", "/files/b-1/links", 201],
    ["root", "GET", "/files/b-1", 200],
    ["bob", "DELETE", "/files/b-1", 204],
  ])("%s: %s %s is a %i", async (name, method, path, status) => {
    const json = { headers: { "Content-Type": "application/json" }, body: '{"expires_in":60}' };
    const response = await as(name, method, path, path.endsWith("links") ? json : {});
    expect(response.status).toBe(status);
    if (method !== "DELETE" || status === 404) expect(await idsOf("root")).toEqual(["b-1"]);
  });

  test("is as one that does not exist, also under a precondition or for a range", async () => {
    for (const headers of [{ "If-Match": '"x"' }, { "If-None-Match": "*" }, { Range: "bytes=99-" }] as Record<
      string,
      string
    >[]) {
      const there = await as("ada", "GET", "/files/b-1", { headers });
      const missing = await as("ada", "GET", "/files/b-2", { headers });
      expect([there.status, there.body?.detail]).toEqual([404, missing.body?.detail?.replace("b-2", "b-1")]);
    }
    expect((await as("ada", "DELETE", "/files/b-1", { headers: { "If-Match": '"x"' } })).status).toBe(404);
  });

  test("cannot be replaced, and what was sent is gone", async () => {
    const { status, body } = await put("ada", "b-1");
    expect([status, body?.type]).toEqual([403, expect.stringContaining("forbidden")]);
    expect((await as("root", "GET", "/files/b-1")).text).toBe("of bob");
  });

  test("cannot be replaced by whoever was faster than its owner, either", async () => {
    const { variables: changed } = changedCatalogue({
      // The look-up before the body has found nothing.
      commit: async (call) => {
        await put("bob", "late", "of bob");
        return call();
      },
    });
    const { status } = await put("ada", "late", "of ada", changed);
    expect(status).toBe(403);
    expect((await as("root", "GET", "/files/late")).text).toBe("of bob");
  });
});

describe("a prefix", () => {
  test("begins every id that is given, and must begin every one that is chosen", async () => {
    const multipart = { headers: { "Content-Type": FORM_TYPE }, body: formBody([filePart("hi")]) };
    const sent = [
      await as("a", "POST", "/upload-file", multipart),
      await as("both", "POST", "/files", multipart),
    ];
    expect(sent.map(({ status }) => status)).toEqual([201, 201]);
    const upload = await as("a", "POST", "/uploads", {
      headers: { ...CHUNK, "Upload-Length": 2 },
      body: "hi",
    });
    expect(pathOf(upload.headers.get("Location"))).toMatch(/^\/uploads\/a-[\da-f-]{36}$/);
    const { status, body } = await put("a", "b-1");
    expect([status, body?.detail]).toEqual([403, 'This token stores files whose ids begin with "a-".']);
    expect((await put("a", "a-1")).status).toBe(201);
    const all = await idsOf("root");
    expect(all).toHaveLength(4);
    expect(all.every((id) => id.startsWith("a-"))).toBe(true);
    expect(await idsOf("a")).toEqual(all);
    expect(await idsOf("both")).toHaveLength(1);
  });
});

test("a bound token starts no task with an upload", async () => {
  const task = await as("ada", "PUT", "/files/x?task=hash_file", { body: "x" });
  const upload = await as("ada", "POST", "/uploads", {
    headers: { ...TUS, "Upload-Length": 1, ...metadata({ task: "hash_file" }) },
  });
  expect([task.status, upload.status, await idsOf("root")]).toEqual([403, 403, []]);
});

describe("an upload of somebody else", () => {
  let path = "";
  beforeEach(async () => {
    const { headers } = await as("bob", "POST", "/uploads", {
      headers: { ...CHUNK, "Upload-Length": 4 },
      body: "of",
    });
    path = pathOf(headers.get("Location"));
  });

  test.each<[string, Record<string, string | number>]>([
    ["GET", {}],
    ["HEAD", TUS],
    ["HEAD", { "Upload-Draft-Interop-Version": 8 }],
    ["PATCH", { ...CHUNK, "Upload-Offset": 2 }],
    ["DELETE", TUS],
    ["POST", { ...TUS, "X-HTTP-Method-Override": "DELETE" }],
    ["POST", { ...TUS, "X-HTTP-Method-Override": "HEAD" }],
  ])("%s with %j is a 404, and changes nothing", async (method, headers) => {
    const body = method === "PATCH" ? "my" : null;
    for (const name of ["ada", "a", "both"] as const) {
      const { status, headers: sent } = await as(name, method, path, { headers, body });
      expect([status, sent.get("Upload-Offset")]).toEqual([404, null]);
    }
    const { headers: state } = await as("bob", "HEAD", path, { headers: TUS });
    expect(state.get("Upload-Offset")).toBe("2");
  });

  test("goes on for its owner, whose file it becomes", async () => {
    const patch = { headers: { ...CHUNK, "Upload-Offset": 2 }, body: "it" };
    expect((await as("bob", "PATCH", path, patch)).status).toBe(204);
    expect((await as("bob", "GET", path)).text).toBe("ofit");
    expect((await as("ada", "GET", path)).status).toBe(404);
    expect([await idsOf("bob"), await idsOf("ada")]).toEqual([[path.replace("/uploads/", "")], []]);
  });
});

test("partial uploads of somebody else are as good as missing", async () => {
  const partial = async (name: Name) => {
    const headers = { ...CHUNK, ...PARTIAL, "Upload-Length": 2 };
    return pathOf((await as(name, "POST", "/uploads", { headers, body: "hi" })).headers.get("Location"));
  };
  const [own, other] = [await partial("ada"), await partial("bob")];
  const join = async (...paths: string[]) =>
    as("ada", "POST", "/uploads", { headers: { ...TUS, "Upload-Concat": `final;${paths.join(" ")}` } });
  const { status, body } = await join(own, other);
  expect([status, body?.detail]).toEqual([
    400,
    expect.stringMatching(/^There is no partial upload .*, or its bytes are gone/),
  ]);
  expect((await join(own)).status).toBe(201);
  expect((await as("bob", "HEAD", other, { headers: TUS })).status).toBe(200);
});

/** Whose files a token may know of. */
const mayKnow = (name: Name, { id, owner }: { id: string; owner: Name }) =>
  (name !== "a" && name !== "both") || id.startsWith("a-")
    ? name === "root" || name === "a" || name === owner
    : false;

test("whatever is stored, pages show all that is within the bounds, once, and nothing else", async () => {
  const stored = fc.record({
    id: fc.tuple(fc.constantFrom("a-", "b-", "a"), fc.nat(20)).map(([prefix, n]) => `${prefix}${n}`),
    owner: fc.constantFrom<Name>("root", "ada", "bob"),
  });
  const query = {
    prefix: fc.constantFrom("", "a", "a-", "a-1", "b-"),
    limit: fc.integer({ min: 1, max: 3 }),
  };
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(stored, { selector: ({ id }) => id, maxLength: 12 }),
      fc.record(query),
      async (files, { prefix, limit }) => {
        await reset();
        await Promise.all(files.map(async ({ id, owner }) => put(owner, id)));
        for (const name of Object.keys(TOKENS) as Name[]) {
          const listed: string[] = [];
          let cursor = "";
          do {
            const { body } = await as(name, "GET", `/files?prefix=${prefix}&limit=${limit}&cursor=${cursor}`);
            listed.push(...filesIn(body).map(({ id }) => id));
            cursor = String(body?.next ?? "");
          } while (cursor !== "");
          const known = files.filter((file) => mayKnow(name, file)).map(({ id }) => id);
          expect(listed).toEqual(known.filter((id) => id.startsWith(prefix)).toSorted());
          for (const { id } of files) {
            const { status } = await as(name, "HEAD", `/files/${id}`);
            expect(status).toBe(known.includes(id) ? 200 : 404);
          }
        }
      },
    ),
    { numRuns: 15 },
  );
}, 120_000);

describe("events of files", () => {
  const line = fc.record({
    id: fc.constantFrom("a-1", "a-2", "b-1", "b-2"),
    owner: fc.option(fc.constantFrom("ada", "bob")),
    source: fc.option(fc.constantFrom("a-9", "b-9")),
    sourceTask: fc.option(fc.constant("t-1")),
  });
  const changes = fc.record({ files: fc.array(line), removed: fc.array(fc.constantFrom("a-3", "b-3")) });

  test("show nothing beyond the bounds, and all within", () => {
    fc.assert(
      fc.property(
        changes,
        fc.constantFrom(null, "ada"),
        fc.constantFrom("", "a-"),
        (data, owner, filePrefix) => {
          const kept = keepFiles({ owner, filePrefix, taskTypes: [] }, "files", JSON.stringify(data));
          const shown = JSON.parse(kept ?? '{"files":[],"removed":[]}');
          const within = data.files.filter(
            (file) => file.id.startsWith(filePrefix) && (!owner || file.owner === owner),
          );
          expect(shown.files.map(({ id }: { id: string }) => id)).toEqual(within.map(({ id }) => id));
          if (filePrefix) expect(kept ?? "").not.toMatch(/"b-|"t-1"/);
          expect(shown.removed).toEqual(owner ? [] : data.removed.filter((id) => id.startsWith(filePrefix)));
        },
      ),
    );
  });

  test("are all that a bound token may watch", async () => {
    const { status, body } = await as("ada", "GET", "/events?kinds=files,tasks");
    expect([status, body?.detail]).toEqual([403, "This token is bound, and may not watch tasks."]);
  });
});

test("a session has the bounds of its token", async () => {
  const site = "https://sluice.example.com";
  const fromPage = { "Sec-Fetch-Site": "same-origin", Origin: site };
  const headers = { ...fromPage, "Content-Type": "application/json" };
  const signIn = { site, variables, headers, body: JSON.stringify({ token: secretOf("both") }) };
  const { headers: sent } = await send("POST", "/session", signIn);
  const [Cookie = ""] = (sent.get("Set-Cookie") ?? "").split(";");
  const asSession = async (path: string) =>
    send("GET", path, { site, variables, headers: { ...fromPage, Cookie } });
  await put("bob", "a-1");
  await put("both", "a-2");
  expect((await asSession("/session")).body).toMatchObject({
    name: "both",
    scopes: ["read", "write", "own"],
    filePrefix: "a-",
  });
  const { body } = await asSession("/files");
  expect(body?.files).toMatchObject([{ id: "a-2" }]);
  expect([(await asSession("/files/a-1")).status, (await asSession("/metrics")).status]).toEqual([404, 403]);
});
