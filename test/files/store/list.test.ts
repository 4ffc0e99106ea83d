/** `GET /files`: the files of all shards in one order, page by page. */
import { env, reset } from "cloudflare:test";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { saveFile } from "../../../src/files/store/save-file.ts";
import { callForJson } from "../../support/call.ts";
import { putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";

interface Page {
  files: { id: string }[];
  next: string | null;
}

async function list(query: Record<string, string | number> = {}) {
  const text = new URLSearchParams(
    Object.entries(query).map(([key, value]) => [key, String(value)]),
  ).toString();
  const { status, body } = await callForJson(`/files?${text}`);
  const { files, next } = body as unknown as Page;
  return { status, body, ids: status === 200 ? files.map(({ id }) => id) : [], next };
}

/** Reads all pages and calls `between` after each. */
async function pages(
  query: Record<string, string | number>,
  between: () => Promise<unknown> = async () => {},
) {
  const all: string[][] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page = await list(cursor === "" ? query : { ...query, cursor });
    expect(page.status).toBe(200);
    all.push(page.ids);
    cursor = page.next;
    await between();
  }
  return all;
}

const store = async (ids: string[]) => Promise.all(ids.map(async (id) => putFile(id, id)));
const remove = async (id: string) => callForJson(`/files/${id}`, { method: "DELETE" }).catch(() => {});
/** Sorts by the bytes of the ids. */
const sorted = (ids: string[]) => ids.toSorted((a, b) => (a < b ? -1 : 1));

keepQuiet();
beforeEach(() => reset());

test("a file is listed as the response to its upload showed it, and nothing else is listed", async () => {
  expect(await list()).toMatchObject({ ids: [], next: null });
  const { body } = await putFile("a", "hello", { headers: { "Content-Type": "text/plain" } });
  expect((await list()).body).toEqual({ files: [body], next: null });
});

test("pages of any size contain every file once, in the order of the ids, whatever their shard", async () => {
  const ids = Array.from({ length: 40 }, (_, i) => `f${String(i * 7919)}`);
  await store(ids);
  for (const limit of [1, 3, 39, 40, 41, 1000]) {
    const all = await pages({ limit });
    expect(all.flat()).toEqual(sorted(ids));
    expect(all.length).toBe(Math.ceil(ids.length / limit));
    for (const page of all.slice(0, -1)) expect(page).toHaveLength(limit);
  }
});

const AWKWARD = [
  "-",
  "--",
  "-a",
  "_",
  "__",
  "_a",
  "0",
  "A",
  "AB",
  "Z",
  "a",
  "a-",
  "a.",
  "a..b",
  "a.b",
  "a_",
  "aA",
  "aa",
  "az",
  "azz",
  "b",
  "z",
  "zz",
  "zzz",
];

test("a prefix selects the ids that begin with it, and no others", async () => {
  await store(AWKWARD);
  const prefixes = [...AWKWARD, "", "a.b.c", "c", "zzzz"];
  for (const prefix of prefixes) {
    const right = sorted(AWKWARD.filter((id) => id.startsWith(prefix)));
    expect([prefix, (await list({ prefix })).ids]).toEqual([prefix, right]);
    expect([prefix, (await pages({ prefix, limit: 2 })).flat()]).toEqual([prefix, right]);
  }
});

test("while files are created and removed, those that stay are listed once each", async () => {
  const stay = ["b", "d", "f", "h", "j"];
  await store([...stay, "c", "e", "i"]);
  const steps = [
    // Before the cursor, at it, and after it; and one that is replaced.
    async () => store(["a", "b2", "g"]),
    async () => remove("c"),
    async () => Promise.all([remove("d2"), store(["d"]), remove("i")]),
    async () => store(["k"]),
  ];
  const all = (await pages({ limit: 2 }, async () => steps.shift()?.())).flat();
  expect(all.filter((id) => stay.includes(id))).toEqual(stay);
  expect(all).toEqual(sorted([...new Set(all)]));
});

test("the next page continues after the last file even if that has been removed", async () => {
  await store(["a", "b", "c"]);
  const { next } = await list({ limit: 2 });
  await remove("b");
  expect((await list({ limit: 2, cursor: String(next) })).ids).toEqual(["c"]);
});

test("an expired file is not listed", async () => {
  await store(["a"]);
  await callForJson("/files/b?expires_in=60", { method: "PUT", body: "x" });
  expect((await list()).ids).toEqual(["a", "b"]);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60_000 });
  try {
    expect((await list()).ids).toEqual(["a"]);
  } finally {
    vi.useRealTimers();
  }
});

describe("an invalid query is rejected with 422, which names the parameter", () => {
  test.each<[string, Record<string, string>, string | null]>([
    [
      "(good ones, to compare)",
      { prefix: "a", limit: "1000", cursor: Buffer.from("a").toString("base64url") },
      null,
    ],
    ["(parameters left empty are none)", { prefix: "", limit: "", cursor: "" }, null],
    ["a page of no files", { limit: "0" }, "query/limit"],
    ["too many", { limit: "1001" }, "query/limit"],
    ["a fraction", { limit: "1.5" }, "query/limit"],
    ["not a number", { limit: "all" }, "query/limit"],
    ["hexadecimal", { limit: "0x10" }, "query/limit"],
    ["an exponent", { limit: "1e2" }, "query/limit"],
    ["a sign", { limit: "+5" }, "query/limit"],
    ["a space", { limit: " 5" }, "query/limit"],
    ["a prefix that no id can have", { prefix: "é" }, "query/prefix"],
    ["a prefix with a dot in front", { prefix: ".a" }, "query/prefix"],
    ["a prefix with a path", { prefix: "a/b" }, "query/prefix"],
    ["an invented cursor", { cursor: "?" }, "query/cursor"],
    ["a cursor with something that is not base64url", { cursor: "YQ==" }, "query/cursor"],
    ["a cursor in another spelling", { cursor: "YR" }, "query/cursor"],
    [
      "a cursor with more than an id in it",
      { cursor: Buffer.from("a' OR 1").toString("base64url") },
      "query/cursor",
    ],
    ["a cursor that is too long", { cursor: "x".repeat(201) }, "query/cursor"],
  ])("%s", async (_name, query, at) => {
    const { status, body } = await list(query);
    expect(status).toBe(at === null ? 200 : 422);
    if (at !== null) expect(body.errors).toMatchObject([{ at }]);
  });
});

test("holds for any set of ids, any prefix, any page size", async () => {
  const letters = fc.constantFrom("a", "b", "_", "-", "Z");
  const word = (minLength: number) =>
    fc.array(letters, { minLength, maxLength: 3 }).map((all) => all.join(""));
  const stored = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(word(1), { maxLength: 4 }),
      word(0),
      fc.integer({ min: 1, max: 9 }),
      async (ids, prefix, limit) => {
        await store(ids.filter((id) => !stored.has(id)));
        for (const id of ids) stored.add(id);
        const right = sorted([...stored].filter((id) => id.startsWith(prefix)));
        expect((await pages({ prefix, limit })).flat()).toEqual(right);
      },
    ),
    { numRuns: 12 },
  );
});

describe("the files that were made from another", () => {
  const make = async (id: string, source: string, expiresInSeconds?: number) =>
    saveFile(
      env,
      { id, filename: id, contentType: "text/plain", source, expiresInSeconds },
      new Uint8Array(1),
    );

  test("are listed page by page, by prefix, and no others", async () => {
    await store(["in", "other"]);
    for (const id of ["a1", "a2", "a3", "b1"]) await make(id, "in");
    await make("a4", "other");
    expect((await pages({ source: "in", limit: 2 })).flat()).toEqual(["a1", "a2", "a3", "b1"]);
    expect((await pages({ source: "in", prefix: "a", limit: 1 })).flat()).toEqual(["a1", "a2", "a3"]);
    expect((await list({ source: "none" })).ids).toEqual([]);
    expect((await list({ source: "" })).ids).toHaveLength(7);
    expect((await list({ source: "a/b" })).status).toBe(422);
  });

  test("are no longer listed once they have expired or are replaced by an upload", async () => {
    await make("a", "in", 1);
    await make("b", "in");
    await store(["b"]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2_000 });
    expect((await list({ source: "in" })).ids).toEqual([]);
    vi.useRealTimers();
  });
});
