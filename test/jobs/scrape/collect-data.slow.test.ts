/** A collection from its submission to its file, on real storage, from an API that each test writes. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import type { z } from "zod";
import { collect, collectData } from "../../../src/jobs/scrape/collect-data.ts";
import { COLLECTION_LIMITS } from "../../../src/jobs/scrape/collection.ts";
import { fetchText } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { ORIGIN, serveSite } from "../../support/site.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";

keepQuiet();
// `reset` reaches objects by their ids, also those that are no longer in memory, and a semaphore needs its name.
expectRuntimeErrors("A Semaphore must be addressed by the name of an upstream.");
beforeEach(async () => {
  await reset();
});

type Job = z.input<typeof collectData.input>;

const parse = async (job: Partial<Job>) =>
  collectData.input.parseAsync({
    upstream: "scrape-site",
    path: "/items",
    pagination: { by: "link" },
    ...job,
  });

/** What a collection returns, and the text of its file. */
async function run(job: Partial<Job>, task = new TestTask(), limits = COLLECTION_LIMITS) {
  const input = await parse(job);
  const result = await task.finish(async (ctx) => collect(ctx, input, limits));
  return { result, text: await textOf(result.fileId) };
}

const textOf = async (fileId: string) => (await fetchText(`/files/${fileId}`)).text;
const ndjson = (...items: unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join("");
const page = (value: unknown, link?: string) => () =>
  Response.json(value, link === undefined ? {} : { headers: { Link: `<${link}>; rel="next"` } });

describe("collect_data", () => {
  test("follows links to the last page", async () => {
    serveSite({
      "/items": page([{ id: 1 }, { id: 2 }], "/items?page=2"),
      "/items?page=2": page([], `${ORIGIN}/items?page=3`),
      "/items?page=3": page([{ id: 3 }]),
    });
    const { result, text } = await run({});
    expect(text).toBe(ndjson({ id: 1 }, { id: 2 }, { id: 3 }));
    expect(result).toEqual({
      fileId: expect.any(String),
      bytes: text.length,
      pages: 3,
      items: 3,
      end: "last-page",
    });
  });

  test("follows a cursor, and finds the items in a member", async () => {
    serveSite({
      "/items?limit=1": page({ data: { list: ["a"] }, next: "x/y" }),
      "/items?limit=1&cursor=x%2Fy": page({ data: { list: ["b"] }, next: "z" }),
      "/items?limit=1&cursor=z": page({ next: null }),
    });
    const { result, text } = await run({
      path: "/items?limit=1",
      items: "data.list",
      pagination: { by: "cursor", member: "next", parameter: "cursor" },
    });
    expect([text, result.pages]).toEqual([ndjson("a", "b"), 3]);
  });

  test("counts pages, and offsets, to a page without items", async () => {
    serveSite({
      "/items?page=1": page([1, 2]),
      "/items?page=2": page([3]),
      "/items?page=3": page([]),
      "/items?offset=0": page([1, 2]),
      "/items?offset=2": page([3]),
      "/items?offset=3": page([]),
    });
    expect((await run({ pagination: { by: "page" } })).text).toBe(ndjson(1, 2, 3));
    const byOffset = await run({ pagination: { by: "offset" } }, new TestTask("s0-offset"));
    expect([byOffset.text, byOffset.result.end]).toEqual([ndjson(1, 2, 3), "last-page"]);
  });

  test("writes a CSV with the columns of its first page", async () => {
    serveSite({
      "/items": page([{ id: 1, name: "a, b" }], "/items?p=2"),
      "/items?p=2": page([{ name: "c", id: 2, extra: true }]),
    });
    const { result, text } = await run({ format: "csv" });
    expect(text).toBe('id,name\r\n1,"a, b"\r\n2,c\r\n');
    expect(result).toMatchObject({ columns: ["id", "name"], unknownMembers: ["extra"] });
    const { headers } = await fetchText(`/files/${result.fileId}`);
    expect(headers.get("Content-Type")).toContain("text/csv");
  });

  test("keeps numbers as they were written", async () => {
    serveSite({ "/items": () => new Response('[{"id": 12345678901234567890, "price": 1.50}]') });
    expect((await run({})).text).toBe('{"id":12345678901234567890,"price":1.50}\n');
  });
});

describe("a list without an end ends", () => {
  test.each<[string, Record<string, ReturnType<typeof page>>, Partial<Job>, object, string]>([
    [
      "where it leads back",
      { "/items": page([1], "/b"), "/b": page([2], "/items") },
      {},
      { end: "loop", pages: 2 },
      ndjson(1, 2),
    ],
    [
      "where it leads to itself",
      { "/items": page([1], "/items#again") },
      {},
      { end: "loop", pages: 1 },
      ndjson(1),
    ],
    [
      "where the same page comes again under the next number",
      { "/items?page=1": page([1]), "/items?page=2": page([1]) },
      { pagination: { by: "page" } },
      { end: "loop", pages: 1 },
      ndjson(1),
    ],
    [
      "at its limit of pages",
      { "/items": page([1], "/b"), "/b": page([2], "/c") },
      { maxPages: 2 },
      { end: "max-pages" },
      ndjson(1, 2),
    ],
    [
      "at its limit of items",
      { "/items": page([1, 2], "/b"), "/b": page([3, 4], "/c") },
      { maxItems: 3 },
      { end: "max-items" },
      ndjson(1, 2, 3),
    ],
    [
      "where it leads elsewhere",
      { "/items": page([1], "https://other.example/") },
      {},
      { end: "foreign" },
      ndjson(1),
    ],
    [
      "where the upstream may not be called",
      { "/docs/items": page([1], "/admin/items") },
      { upstream: "scrape-part", path: "/docs/items" },
      { end: "refused", pages: 1 },
      ndjson(1),
    ],
  ])("%s", async (_, pages, job, expected, text) => {
    serveSite(pages);
    const done = await run(job);
    expect(done.result).toMatchObject(expected);
    expect(done.text).toBe(text);
  });
});

describe("a page fails the task that", () => {
  test.each<[string, () => Response, Partial<Job>, string, boolean]>([
    [
      "is not there",
      () => new Response("x", { status: 404 }),
      {},
      "page 1 (/items): the upstream responded with 404",
      true,
    ],
    [
      "cannot be had now",
      () => new Response("x", { status: 500 }),
      {},
      "the upstream responded with 500",
      false,
    ],
    ["is no JSON", () => new Response("<p>"), {}, "it is not JSON", true],
    [
      "is no list",
      () => Response.json({ a: [] }),
      {},
      'it is not an array: "items" must name the member that is',
      true,
    ],
    [
      "has no such list",
      () => Response.json({ a: 1 }),
      { items: "a" },
      'its member "a" is not an array',
      true,
    ],
    [
      "is too long",
      () => Response.json(["x".repeat(6 * 1024 * 1024)]),
      {},
      "it is longer than 5242880 bytes",
      true,
    ],
    [
      "would be too wide a table",
      () => Response.json([Object.fromEntries([...Array(1_001).keys()].map((n) => [n, n]))]),
      { format: "csv" },
      "more than 1000 members: name the columns",
      true,
    ],
  ])("%s", async (_, respond, job, message, isFinal) => {
    serveSite({ "/items": respond });
    const failure = await run(job).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(String(failure)).toContain(message);
    expect((failure as Error).name === "NonRetryableError").toBe(isFinal);
  });
});

describe("a collection that is interrupted", () => {
  const list = () =>
    Object.fromEntries(
      [...Array(6).keys()].map((n) => [
        n === 0 ? "/items" : `/items?p=${n}`,
        page([{ n }, { n: n + 0.5 }], n < 5 ? `/items?p=${n + 1}` : undefined),
      ]),
    );
  const ALL = ndjson(...[...Array(6).keys()].flatMap((n) => [{ n }, { n: n + 0.5 }]));
  const SMALL = { batchCharacters: 20, runBytes: 1024 * 1024 };

  test("at any moment goes on where it was: each page is in the file once", async () => {
    const input = await parse({});
    const moments = await cutAtEveryMoment(
      async () => {
        await reset();
        serveSite(list());
        return async (ctx) => collect(ctx, input, SMALL);
      },
      async ({ fileId, items }) => {
        expect([items, await textOf(fileId)]).toEqual([12, ALL]);
      },
    );
    expect(moments).toBeGreaterThan(6);
  });

  test("because its run has done its share hands over, and another goes on", async () => {
    const calls = serveSite(list());
    const task = new TestTask();
    const { text } = await run({}, task, { batchCharacters: 20, runBytes: 30 });
    expect([text, task.runs > 1]).toEqual([ALL, true]);
    expect([...calls.values()].every((count) => count === 1)).toBe(true);
  });

  test("by an upstream that wants a pause waits", async () => {
    let refusals = 1;
    serveSite({
      "/items": () =>
        refusals-- > 0
          ? new Response("x", { status: 429, headers: { "Retry-After": "1" } })
          : Response.json([1]),
    });
    expect((await run({})).text).toBe(ndjson(1));
  });
});

describe("an input is refused that has", () => {
  const good = { upstream: "scrape-site", path: "/items", pagination: { by: "link" } };
  test.each<[string, object, string]>([
    ["no pagination", { ...good, pagination: undefined }, "pagination"],
    ["a pagination that nobody knows", { ...good, pagination: { by: "magic" } }, "pagination/by"],
    ["a cursor from nowhere", { ...good, pagination: { by: "cursor" } }, "pagination"],
    ["an upstream that is not there", { ...good, upstream: "nowhere" }, "upstream"],
    ["a path that is not allowed", { ...good, upstream: "scrape-part" }, "path"],
    ["a path that is none", { ...good, path: "https://other.example/" }, "path"],
    ["columns without a table", { ...good, columns: ["a"] }, "columns"],
    ["no columns", { ...good, format: "csv", columns: [] }, "columns"],
    ["a column twice", { ...good, format: "csv", columns: ["id", "id"] }, "columns"],
    ["a format that nobody knows", { ...good, format: "xml" }, "format"],
    ["more pages than a checkpoint holds", { ...good, maxPages: 10_001 }, "maxPages"],
  ])("%s", async (_, input, at) => {
    const { status, body } = await submit({ type: "collect_data", input });
    expect(status).toBe(422);
    expect(new Set((body.errors as { at: string }[]).map((error) => error.at))).toEqual(
      new Set([`json/input/${at}`]),
    );
  });
});

test("submitted over HTTP it collects the list of the demo upstream", async () => {
  const input = {
    upstream: "demo",
    path: "/sightings?per_page=20",
    pagination: { by: "link" },
    format: "csv",
  };
  const id = await submitted({ type: "collect_data", input });
  const { result } = await taskWhen(id, "succeeded");
  expect(result).toMatchObject({
    pages: 3,
    items: 45,
    end: "last-page",
    columns: ["id", "bird", "count", "seenAt"],
  });
  const lines = (await textOf((result as { fileId: string }).fileId)).split("\r\n");
  expect([lines.length, lines[1]]).toEqual([47, "1,grebe,2,2026-05-01T06:37:00.000Z"]);
});
