/** A crawl from its submission to its file, on real storage, of a site that each test writes. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import type { z } from "zod";
import { CRAWL_LIMITS } from "../../../src/jobs/scrape/crawl.ts";
import { scrape, scrapePages } from "../../../src/jobs/scrape/scrape-pages.ts";
import { until } from "../../support/background.ts";
import { fetchText } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { linksTo, maxInFlight, ORIGIN, serveSite } from "../../support/site.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

keepQuiet();
// `reset` reaches objects by their ids, also those that are no longer in memory, and a semaphore needs its name.
expectRuntimeErrors("A Semaphore must be addressed by the name of an upstream.");
beforeEach(async () => {
  await reset();
});

type Job = z.input<typeof scrapePages.input>;
interface Line {
  url: string;
  depth: number;
  [member: string]: unknown;
}

/** What a crawl of the site returns, and the lines of its file. */
async function crawl(job: Partial<Job>, task = new TestTask(), limits = CRAWL_LIMITS) {
  const input = await scrapePages.input.parseAsync({ upstream: "scrape-site", article: false, ...job });
  const result = await task.finish(async (ctx) => scrape(ctx, input, limits));
  return { result, lines: await linesOf(result.fileId) };
}

async function linesOf(fileId: string): Promise<Line[]> {
  const { text } = await fetchText(`/files/${fileId}`);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

const pathsOf = (lines: Line[]) => lines.map(({ url }) => url.slice(ORIGIN.length)).toSorted();
const NOTHING_SKIPPED = { robots: 0, refused: 0, notHtml: 0, noindex: 0, duplicate: 0 };

describe("scrape_pages", () => {
  test("follows links within the origin, to its depth, and has each page once", async () => {
    const calls = serveSite({
      "/": linksTo("/a", "b", "#top", "/a#x", "https://other.example/", "mailto:x@y.z", "/missing"),
      "/a": linksTo("/", "/b", "/a/c"),
      "/b": linksTo("/a/c"),
      "/a/c": linksTo("/d"),
      "/d": linksTo("/e"),
    });
    const { result, lines } = await crawl({ depth: 2 });
    expect(pathsOf(lines)).toEqual(["/", "/a", "/a/c", "/b"]);
    expect(Object.fromEntries(lines.map(({ url, depth }) => [url.slice(ORIGIN.length), depth]))).toEqual({
      "/": 0,
      "/a": 1,
      "/b": 1,
      "/a/c": 2,
    });
    expect(result).toMatchObject({
      pages: 4,
      failed: 1,
      failures: [{ address: "/missing", reason: "the upstream responded with 404" }],
      skipped: NOTHING_SKIPPED,
      waiting: 0,
    });
    expect([...calls.values()].every((count) => count === 1)).toBe(true);
    expect(calls.has("/d")).toBe(false);
  });

  test("says of a page what it says, with its article as Markdown", async () => {
    const text =
      "A paragraph that is long enough, with commas, to be taken for the text of an article by whoever looks.";
    serveSite({
      "/": () =>
        new Response(
          Uint8Array.from(
            `<html lang=fr><title>Caf\u00e9</title><meta name=description content=d><link rel=canonical href=/home>
             <script type=application/ld+json>{"@type":"Cafe"}</script><nav><a href=/x rel=nofollow>X</a></nav>
             <article><h1>Bonjour</h1>${`<p>${text} <a href="rel">here</a></p>`.repeat(4)}</article>`,
            (character) => character.charCodeAt(0),
          ),
          { headers: { "Content-Type": "text/html; charset=latin1" } },
        ),
    });
    const { lines } = await crawl({ depth: 0, article: true });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      url: `${ORIGIN}/`,
      depth: 0,
      charset: "windows-1252",
      language: "fr",
      title: "Café",
      description: "d",
      canonical: `${ORIGIN}/home`,
      headings: [{ level: 1, text: "Bonjour" }],
      links: [
        { url: `${ORIGIN}/x`, text: "X", nofollow: true },
        { url: `${ORIGIN}/rel`, text: "here", nofollow: false },
      ],
      article: { title: "Café", markdown: expect.stringContaining(`${text} [here](${ORIGIN}/rel)`) },
      jsonLd: [{ "@type": "Cafe" }],
      truncated: false,
    });
    expect(String(lines[0]?.text)).toContain("Bonjour\nA paragraph");
  });

  test("stops at its limit, and says what it has left", async () => {
    serveSite(
      Object.fromEntries([
        ["/", linksTo("/1", "/2", "/3", "/4", "/5")],
        ...[1, 2, 3, 4, 5].map((n) => [`/${n}`, "x"]),
      ]),
    );
    const { result, lines } = await crawl({ maxPages: 3 });
    expect(lines).toHaveLength(3);
    expect(result).toMatchObject({ pages: 3, waiting: 3 });
  });

  test("skips what the upstream's configuration refuses, and counts it", async () => {
    const calls = serveSite({
      "/docs/": linksTo("/docs/a", "/admin", "/docs/%2e%2e%2fx", "/docs/b//c"),
      "/docs/a": "x",
    });
    const { result, lines } = await crawl({ upstream: "scrape-part", paths: ["/docs/"] });
    expect(pathsOf(lines)).toEqual(["/docs/", "/docs/a"]);
    expect(result.skipped).toEqual({ ...NOTHING_SKIPPED, refused: 3 });
    expect(calls.has("/admin")).toBe(false);
  });

  test("skips what is not a page, without asking where its name says so", async () => {
    const calls = serveSite({
      "/": linksTo("/a.pdf", "/data", "/page"),
      "/data": () => Response.json({}),
      "/page": () =>
        new Response("<p>x", { headers: { "Content-Type": "Application/XHTML+XML; charset=utf-8" } }),
    });
    const { result, lines } = await crawl({});
    expect([pathsOf(lines), result.skipped.notHtml]).toEqual([["/", "/page"], 2]);
    expect(calls.has("/a.pdf")).toBe(false);
  });

  test("follows a redirect as far as it may, and has its target once, under its own address", async () => {
    serveSite({
      "/": linksTo("/old", "/out", "/loop", "/new"),
      "/old": () => Response.redirect(`${ORIGIN}/new`, 301),
      "/out": () => Response.redirect("https://other.example/", 302),
      "/loop": () => Response.redirect(`${ORIGIN}/loop`, 302),
      "/new": "x",
    });
    const { result, lines } = await crawl({ depth: 1 });
    expect(pathsOf(lines)).toEqual(["/", "/new"]);
    expect(result.redirects).toBe(3);
  });

  test("keeps one page for a canonical address, and heeds what pages ask of robots", async () => {
    const canonical = (path: string) => `<link rel=canonical href="${path}">`;
    serveSite({
      "/": linksTo("/a", "/a?print=1", "/hidden", "/closed", "/header"),
      "/a": canonical("/a"),
      "/a?print=1": canonical("/a"),
      "/hidden": `<meta name=robots content=noindex>${linksTo("/from-hidden")}`,
      "/closed": `<meta name=robots content=nofollow>${linksTo("/from-closed")}`,
      "/header": () =>
        new Response(linksTo("/from-header"), {
          headers: { "Content-Type": "text/html", "X-Robots-Tag": "none" },
        }),
      "/from-hidden": "x",
    });
    const { result, lines } = await crawl({});
    // The upstream's configuration says which headers travel: X-Robots-Tag is not among them by default.
    expect(pathsOf(lines)).toEqual(["/", "/a", "/closed", "/from-hidden", "/header"]);
    expect(result.skipped).toEqual({ ...NOTHING_SKIPPED, noindex: 1, duplicate: 1 });
  });

  test("reads no more than so much of a page", async () => {
    serveSite({ "/": `<title>long</title>${"text ".repeat(500_000)}${linksTo("/after")}` });
    const { lines } = await crawl({});
    expect(lines).toMatchObject([{ title: "long", truncated: true, links: [] }]);
  });

  test("has as many calls in flight as the upstream may have", async () => {
    const slow = async () => {
      await until(() => maxInFlight() >= 4);
      return new Response("x", { headers: { "Content-Type": "text/html" } });
    };
    const paths = [...Array(12).keys()].map((n) => `/${n}`);
    serveSite({ "/": linksTo(...paths), ...Object.fromEntries(paths.map((path) => [path, slow])) });
    const { lines } = await crawl({});
    expect([lines.length, maxInFlight()]).toEqual([13, 4]);
  });
});

describe("robots.txt", () => {
  test("is heeded, and read once", async () => {
    const calls = serveSite({
      "/robots.txt": "User-agent: *\nDisallow: /private\n\nUser-agent: ShopBot\nDisallow: /shop",
      "/": linksTo("/private/a", "/shop/a"),
      "/private/a": "x",
      "/shop/a": "x",
    });
    const { result, lines } = await crawl({});
    expect([pathsOf(lines), result.skipped.robots]).toEqual([["/", "/shop/a"], 1]);
    expect([calls.get("/robots.txt"), calls.has("/private/a")]).toEqual([1, false]);
    const named = await crawl({ upstream: "scrape-named" }, new TestTask("s0-named"));
    expect(pathsOf(named.lines)).toEqual(["/", "/private/a"]);
  });

  test("that asks for a delay gets one call at a time, and that apart", async () => {
    const beganAtMs: number[] = [];
    const page = () => {
      beganAtMs.push(Date.now());
      return new Response(linksTo("/1", "/2"), { headers: { "Content-Type": "text/html" } });
    };
    serveSite({ "/robots.txt": "User-agent: *\nCrawl-delay: 0.1", "/": page, "/1": page, "/2": page });
    const { lines } = await crawl({});
    expect([lines.length, maxInFlight()]).toEqual([3, 1]);
    const gaps = beganAtMs.slice(1).map((ms, i) => ms - (beganAtMs[i] ?? 0));
    // They are told apart from none, not from 100 ms: a call that arrives late on a busy machine shortens the next gap.
    for (const gap of gaps) expect(gap).toBeGreaterThan(50);
  });

  test.each<[string, () => Response, string]>([
    [
      "that cannot be read now",
      () => new Response("x", { status: 500 }),
      "robots.txt could not be read, and without it nothing may be fetched",
    ],
    [
      "that asks for too long a delay",
      () => new Response("User-agent: *\nCrawl-delay: 3600"),
      "asks for 3600 s between two calls",
    ],
  ])("%s ends the attempt before any page is called", async (_, respond, message) => {
    const calls = serveSite({ "/robots.txt": respond, "/": "x" });
    await expect(crawl({})).rejects.toThrow(message);
    expect([...calls.keys()]).toEqual(["/robots.txt"]);
  });
});

describe("a sitemap", () => {
  const locations = (...paths: string[]) =>
    paths.map((path) => `<url><loc>${ORIGIN}${path}</loc></url>`).join("");
  const PAGES = Object.fromEntries(["/a", "/b", "/c"].map((path) => [path, linksTo("/linked")]));

  test("that robots.txt names is where the crawl starts, and no link is followed", async () => {
    serveSite({
      "/robots.txt": `Sitemap: ${ORIGIN}/map.xml`,
      "/map.xml": `<urlset>${locations("/a", "/b", "/a")}<url><loc>https://other.example/</loc></url></urlset>`,
      ...PAGES,
    });
    const { result, lines } = await crawl({ sitemap: true });
    expect([pathsOf(lines), result.sitemaps]).toEqual([["/a", "/b"], 1]);
  });

  test("may be an index, may be gzip, and may be partly broken", async () => {
    const gzipped = async () =>
      new Response(
        new Response(`<urlset>${locations("/a")}</urlset>`).body?.pipeThrough(new CompressionStream("gzip")),
      );
    const entries = ["/1.xml.gz", "/2.xml", "/lost.xml"].map(
      (path) => `<sitemap><loc>${ORIGIN}${path}</loc></sitemap>`,
    );
    serveSite({
      "/sitemap.xml": `<sitemapindex>${entries.join("")}</sitemapindex>`,
      "/1.xml.gz": gzipped,
      "/2.xml": `<urlset>${locations("/b")}<url><loc>${ORIGIN}/c`,
      ...PAGES,
    });
    const { result, lines } = await crawl({ sitemap: true });
    expect(pathsOf(lines)).toEqual(["/a", "/b"]);
    expect(result).toMatchObject({
      sitemaps: 4,
      failures: [{ address: "/lost.xml", reason: "the upstream responded with 404" }],
    });
  });
});

describe("a crawl that is interrupted", () => {
  const SITE = {
    "/": linksTo("/1", "/2", "/3"),
    "/1": linksTo("/4"),
    "/2": linksTo("/5"),
    "/3": "x",
    "/4": "x",
    "/5": "x",
  };
  const LIMITS = { batchVisits: 2, runHtml: 6_000_000 };
  const job = async () => scrapePages.input.parseAsync({ upstream: "scrape-site", article: false });

  test("at any moment goes on where it was: each page is in the file once", async () => {
    const input = await job();
    const moments = await cutAtEveryMoment(
      async () => {
        // What the run before had in flight when it was cut.
        await expect.poll(async () => loadOf("scrape-site"), { timeout: 10_000 }).toEqual(IDLE);
        await reset();
        serveSite(SITE);
        return async (ctx) => scrape(ctx, input, LIMITS);
      },
      async ({ fileId, pages, failed }) => {
        expect([pages, failed]).toEqual([6, 0]);
        expect(pathsOf(await linesOf(fileId))).toEqual(Object.keys(SITE).toSorted());
      },
    );
    expect(moments).toBeGreaterThan(5);
  });

  test("because its run has done its share hands over, and another goes on", async () => {
    const calls = serveSite(SITE);
    const task = new TestTask();
    const { lines } = await crawl({}, task, { batchVisits: 50, runHtml: 50 });
    expect(pathsOf(lines)).toEqual(Object.keys(SITE).toSorted());
    expect(task.runs).toBeGreaterThan(1);
    expect([...calls].filter(([address, count]) => count > 1 && address !== "/robots.txt")).toEqual([]);
  });

  test("after its end does nothing again", async () => {
    const calls = serveSite(SITE);
    const task = new TestTask();
    const { result } = await crawl({}, task);
    const before = [...calls];
    expect((await crawl({}, task)).result).toEqual(result);
    expect([...calls]).toEqual(before);
  });

  test("by an upstream that wants a pause waits, and fetches the page then", async () => {
    let refusals = 1;
    const calls = serveSite({
      "/": () =>
        refusals-- > 0
          ? new Response("later", { status: 429, headers: { "Retry-After": "1" } })
          : new Response("<title>now</title>", { headers: { "Content-Type": "text/html" } }),
    });
    const { lines } = await crawl({});
    expect(lines).toMatchObject([{ title: "now" }]);
    expect(calls.get("/")).toBe(2);
  });
});

describe("an input is refused that has", () => {
  test.each<[string, object, string]>([
    ["no upstream", {}, "json/input/upstream"],
    ["an upstream that is not there", { upstream: "nowhere" }, "json/input/upstream"],
    ["an upstream whose robots.txt may not be read", { upstream: "path-narrow" }, "json/input/upstream"],
    ["an upstream without GET", { upstream: "callback-slow" }, "json/input/upstream"],
    ["nowhere to start", { upstream: "scrape-site", paths: [] }, "json/input/paths"],
    ["a path that is none", { upstream: "scrape-site", paths: ["docs"] }, "json/input/paths/0"],
    ["a path with a fragment", { upstream: "scrape-site", paths: ["/a#b"] }, "json/input/paths/0"],
    [
      "a path that is not allowed",
      { upstream: "scrape-part", paths: ["/docs/", "/admin"] },
      "json/input/paths/1",
    ],
    ["a path with a dot segment", { upstream: "scrape-site", paths: ["/a/../b"] }, "json/input/paths/0"],
    [
      "a sitemap that is not allowed",
      { upstream: "scrape-part", paths: ["/docs/"], sitemap: "/map.xml" },
      "json/input/sitemap",
    ],
    ["a sitemap that is no path", { upstream: "scrape-site", sitemap: "map.xml" }, "json/input/sitemap"],
    ["a depth below zero", { upstream: "scrape-site", depth: -1 }, "json/input/depth"],
    ["no pages", { upstream: "scrape-site", maxPages: 0 }, "json/input/maxPages"],
    [
      "more pages than a checkpoint holds",
      { upstream: "scrape-site", maxPages: 5_001 },
      "json/input/maxPages",
    ],
    ["a member that nobody knows", { upstream: "scrape-site", page: 1 }, "json/input"],
  ])("%s", async (_, input, at) => {
    const { status, body } = await submit({ type: "scrape_pages", input });
    expect(status).toBe(422);
    expect((body.errors as { at: string }[]).map((error) => error.at)).toEqual([at]);
  });

  test.each([5, null, {}])("a sitemap that is %j, and says what may be there", async (sitemap) => {
    const { body } = await submit({ type: "scrape_pages", input: { upstream: "scrape-site", sitemap } });
    const detail = "true, false, or a path that begins with /";
    expect(body.errors).toEqual([{ at: "json/input/sitemap", detail }]);
  });
});

test("submitted over HTTP it crawls the site of the demo upstream", async () => {
  const id = await submitted({
    type: "scrape_pages",
    input: { upstream: "demo", paths: ["/site/"], depth: 3 },
  });
  const { result } = await taskWhen(id, "succeeded");
  expect(result).toMatchObject({
    pages: 9,
    redirects: 1,
    failed: 1,
    skipped: { ...NOTHING_SKIPPED, robots: 1, duplicate: 6 },
  });
  const lines = await linesOf((result as { fileId: string }).fileId);
  expect(lines.find(({ url }) => url.endsWith("/walks/2"))).toMatchObject({
    title: "Over the common",
    article: { markdown: expect.stringContaining("## The way") },
  });
});
