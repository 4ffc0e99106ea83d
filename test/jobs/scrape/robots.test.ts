import { describe, expect, test } from "vitest";
import { agentOf, readRobots } from "../../../src/jobs/scrape/robots.ts";

const rules = (text: string) => readRobots(text, "https://a.example", "sluice");
const allowed = (text: string, ...addresses: string[]) =>
  addresses.filter((address) => rules(text).mayFetch(address));

describe("robots.txt", () => {
  test.each<[string, string, string[]]>([
    ["empty allows all", "", ["/", "/a", "/a/b?x"]],
    ["that is no robots.txt allows all", "<!doctype html><p>Disallow: /", ["/", "/a", "/a/b?x"]],
    ["may forbid all", "User-agent: *\nDisallow: /", []],
    ["may forbid nothing", "User-agent: *\nDisallow:", ["/", "/a", "/a/b?x"]],
    ["may forbid a prefix", "User-agent: *\nDisallow: /a", ["/"]],
    ["may forbid by pattern", "User-agent: *\nDisallow: /*?x", ["/", "/a"]],
    ["may forbid an end", "User-agent: *\nDisallow: /a$", ["/", "/a/b?x"]],
    ["allows by the longest rule", "User-agent: *\nAllow: /a/b\nDisallow: /a", ["/", "/a/b?x"]],
    ["allows where two are as long", "User-agent: *\nDisallow: /a\nAllow: /a", ["/", "/a", "/a/b?x"]],
    [
      "has rules for us alone",
      "User-agent: *\nDisallow: /\n\nUser-agent: Sluice/2.0\nDisallow: /a/b",
      ["/", "/a"],
    ],
    ["has rules for several", "User-agent: other\nUser-agent: SLUICE\nDisallow: /a", ["/"]],
    ["has rules for others", "User-agent: other\nDisallow: /", ["/", "/a", "/a/b?x"]],
    [
      "has a BOM, comments and other line ends",
      "\ufeffUser-agent: * # all\r\rDisallow: /a # not this\r",
      ["/"],
    ],
  ])("%s", (_, text, expected) => {
    expect(allowed(text, "/", "/a", "/a/b?x")).toEqual(expected);
  });

  test.each([
    ["2", 2_000],
    ["0.5", 500],
    ["0", 0],
    ["-1", 0],
    ["soon", 0],
    ["", 0],
    ["1e9", 1e12],
  ])("Crawl-delay: %s", (value, delayMs) => {
    expect(rules(`User-agent: *\nCrawl-delay: ${value}`).delayMs).toBe(delayMs);
  });

  test("names sitemaps, wherever they stand", () => {
    const text = "Sitemap: https://a.example/1.xml\nUser-agent: *\nDisallow: /\nSITEMAP: /2.xml";
    expect(rules(text).sitemaps).toEqual(["https://a.example/1.xml", "/2.xml"]);
  });
});

test.each([
  ["sluice", "sluice"],
  ["ShopBot/1.0 (+https://shop.example/bot)", "ShopBot"],
  [" my-bot_2 ", "my-bot_2"],
  ["(none)", "*"],
])("the agent %j goes by the name %j", (userAgent, name) => {
  expect(agentOf(userAgent)).toBe(name);
});
