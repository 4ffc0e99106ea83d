/** The demo upstream's site and list: what the examples of the pages rely on. */
import { expect, test } from "vitest";
import { respondAsList } from "../../src/outbound/demo/list.ts";
import { respondAsSite } from "../../src/outbound/demo/site.ts";

const at = (path: string) => new URL(path, "http://upstream.internal");

test("the site has pages, robots.txt, a sitemap of pages that are there, and a redirect", async () => {
  const sitemap = await respondAsSite(at("/sitemap.xml"))?.text();
  const locations = [...(sitemap ?? "").matchAll(/<loc>([^<]*)<\/loc>/g)].map(([, location]) =>
    String(location),
  );
  expect(locations).toHaveLength(9);
  for (const location of locations) expect(respondAsSite(new URL(location))?.status).toBe(200);
  expect(await respondAsSite(at("/robots.txt"))?.text()).toContain(
    "Sitemap: http://upstream.internal/sitemap.xml",
  );
  expect(respondAsSite(at("/site/first-walk"))?.headers.get("Location")).toBe(
    "http://upstream.internal/site/walks/1",
  );
  for (const path of ["/site/walks/7", "/site/walks/0", "/site/lost", "/todos"])
    expect(respondAsSite(at(path))).toBeUndefined();
});

test("the list leads from page to page, and has each item once", async () => {
  const ids: number[] = [];
  let next: string | undefined = "/sightings?per_page=20";
  while (next !== undefined) {
    const response: Response = respondAsList(at(next)) ?? new Response("[]");
    ids.push(...(await response.json<{ id: number }[]>()).map(({ id }) => id));
    next = /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
  }
  expect(ids).toEqual([...Array(45).keys()].map((n) => n + 1));
});

test.each([
  ["/sightings?page=9", 0],
  ["/sightings?page=x&per_page=-3", 1],
  ["/sightings?per_page=1000", 20],
  ["/sightings", 10],
])("%s has %d items", async (path, count) => {
  expect(await respondAsList(at(path))?.json()).toHaveLength(count);
});
