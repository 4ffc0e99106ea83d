/** What of a sitemap is taken at once, and where it is read on. */
import { reset } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import type { SitemapToRead } from "../../../src/jobs/scrape/crawl-state.ts";
import { readSitemap, type SitemapAnswer } from "../../../src/jobs/scrape/sitemap-call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { ORIGIN, serveSite } from "../../support/site.ts";
import { taskContext } from "../../support/task-context.ts";

keepQuiet();
beforeEach(async () => {
  await reset();
});

const MAP: SitemapToRead = { address: "/map.xml", from: 0, isPart: false };

/** Reads a sitemap with room for so many addresses. */
async function read(
  sitemap: SitemapToRead,
  room: number,
): Promise<{ taken: string[]; answer: SitemapAnswer }> {
  const taken: string[] = [];
  const visitor = { caller: { ...taskContext(), type: "test" }, upstream: "scrape-site", origin: ORIGIN };
  const answer = await readSitemap(
    visitor,
    sitemap,
    (address) => taken.length < room && taken.push(address) > 0,
  );
  return { taken, answer };
}

test("is what there is room for, and the rest the next time: each entry once", async () => {
  const paths = [...Array(10).keys()].map((n) => `/${n}`);
  serveSite({
    "/map.xml": `<urlset>${paths.map((path) => `<url><loc>${path}</loc></url>`).join("")}</urlset>`,
  });
  const all: string[] = [];
  let todo = [MAP];
  for (let turns = 0; todo.length > 0 && turns < 10; turns++) {
    const { taken, answer } = await read(todo[0] ?? MAP, 4);
    all.push(...taken);
    todo = answer.is === "read" ? answer.next : [];
  }
  expect(all).toEqual(paths);
});

test("of an index is twenty sitemaps, and the index from there on", async () => {
  const parts = [...Array(25).keys()].map((n) => `<sitemap><loc>/${n}.xml</loc></sitemap>`);
  serveSite({ "/map.xml": `<sitemapindex>${parts.join("")}</sitemapindex>` });
  const { answer } = await read(MAP, 100);
  const next = answer.is === "read" ? answer.next : [];
  expect(next).toHaveLength(21);
  expect([next[0], next[20]]).toEqual([
    { address: "/0.xml", from: 0, isPart: true },
    { address: "/map.xml", from: 20, isPart: false },
  ]);
  expect((await read(next[20] ?? MAP, 100)).answer).toMatchObject({ is: "read", next: { length: 5 } });
});

test("of an index in an index is nothing", async () => {
  serveSite({ "/map.xml": "<sitemapindex><sitemap><loc>/1.xml</loc></sitemap></sitemapindex>" });
  expect((await read({ ...MAP, isPart: true }, 100)).answer).toEqual({ is: "read", next: [] });
});

test.each<[string, string | (() => Response), object]>([
  [
    "a status",
    () => new Response("x", { status: 410 }),
    { is: "failed", reason: "the upstream responded with 410" },
  ],
  [
    "a pause",
    () => new Response("x", { status: 429, headers: { "Retry-After": "7" } }),
    { is: "busy", afterMs: 7_000 },
  ],
  ["what is no gzip", () => new Response(new Uint8Array([0x1f, 0x8b, 1, 2, 3])), { is: "failed" }],
  [
    "what is nested as no sitemap is",
    "<a>".repeat(500),
    { is: "failed", reason: "its elements are nested too deeply" },
  ],
  ["nothing", "", { is: "read", next: [] }],
  ["one byte", "x", { is: "read", next: [] }],
])("that responds with %s", async (_, respond, expected) => {
  serveSite({ "/map.xml": respond });
  expect((await read(MAP, 100)).answer).toMatchObject(expected);
});
