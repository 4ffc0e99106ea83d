import { describe, expect, test } from "vitest";
import { SitemapReader } from "../../../src/jobs/scrape/sitemap.ts";

/** What is read of a text that arrives in pieces of a length. */
function read(text: string, pieceLength = text.length) {
  const reader = new SitemapReader();
  const locations: string[] = [];
  let isIndex = false;
  for (let at = 0; at < text.length; at += pieceLength) {
    const entries = reader.write(text.slice(at, at + pieceLength));
    locations.push(...entries.locations);
    isIndex ||= entries.isIndex;
  }
  locations.push(...reader.end().locations);
  return { isIndex, locations };
}

const URLSET = `<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="x">
  <url><loc>https://a.example/1?x=1&amp;y=2</loc><lastmod>2026-01-01</lastmod></url>
  <!-- <url><loc>https://a.example/no</loc></url> -->
  <url><loc>\n https://a.example/2 </loc><image:image><image:loc>https://a.example/i.png</image:loc></image:image></url>
  <url><loc><![CDATA[https://a.example/3]]></loc></url>
  <url><loc></loc></url>
</urlset>`;

describe("a sitemap", () => {
  const locations = ["https://a.example/1?x=1&y=2", "https://a.example/2", "https://a.example/3"];

  test.each([1, 7, 100_000])("is read in pieces of %d characters", (pieceLength) => {
    expect(read(URLSET, pieceLength)).toEqual({ isIndex: false, locations });
  });

  test("that is an index says so", () => {
    const index =
      "<sm:sitemapindex xmlns:sm='x'><sm:sitemap><sm:loc>/a.xml</sm:loc></sm:sitemap></sm:sitemapindex>";
    expect(read(index, 5)).toEqual({ isIndex: true, locations: ["/a.xml"] });
  });

  test("that is cut gives what came before", () => {
    expect(read(URLSET.slice(0, URLSET.indexOf("/2"))).locations).toEqual(locations.slice(0, 1));
  });

  test("of plain text has a URL on each line", () => {
    const text = "\ufeffhttps://a.example/1\r\n\r\n  https://a.example/2\nhttps://a.example/3";
    for (const length of [1, 9, 1_000])
      expect(read(text, length)).toEqual({
        isIndex: false,
        locations: [1, 2, 3].map((n) => `https://a.example/${n}`),
      });
  });

  test("that is nested too deeply is none", () => {
    expect(() => read("<a>".repeat(200))).toThrow("nested too deeply");
  });

  test.each([
    ["nothing", ""],
    ["white space", " \n "],
    ["HTML", "<!doctype html><p>not found"],
    ["a location without an end", `<urlset><url><loc>${"x".repeat(10_000)}`],
    ["a location that is too long", `<urlset><url><loc>${"x".repeat(3_000)}</loc>`],
    ["a line that is too long", `${"x".repeat(10_000)}\n`],
  ])("that is %s has no entries", (_, text) => {
    expect(read(text).locations).toEqual([]);
  });
});
