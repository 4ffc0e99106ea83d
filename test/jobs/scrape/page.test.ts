/** Pages as they are found: with what is missing, misspelt, nested wrongly and cut off. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Page, readPage, robotsOf } from "../../../src/jobs/scrape/page.ts";
import { fastestMs } from "../../support/linear.ts";

const read = (html: string) => readPage(html, "sluice");

describe("of a whole page", () => {
  const page = read(`<!DOCTYPE html>
    <html lang="en-GB"><head><title>Tea &amp;\n cakes</title><base href="/shop/">
    <meta name="Description" content="Best &eacute;clairs"><meta name="description" content="second">
    <link rel="canonical" href="/tea"><script type="application/ld+json">{"@type": "Product"}</script>
    <script>var title = "<h1>no</h1>"</script><style>h1 { color: red }</style></head>
    <body><nav><a href="a.html">First</a> <a href="b.html" rel="external nofollow">Second</a></nav>
    <h1>Tea</h1><p>One<br>two &lt;three&gt;</p><h2>And <em>cakes</em></h2>
    <a href="c.html"><img src="c.png" alt="A cake"></a></body></html>`);

  test("it reads what it says of itself", () => {
    const { title, description, canonical, language, base, noindex, nofollow } = page;
    expect({ title, description, canonical, language, base, noindex, nofollow }).toEqual({
      title: "Tea & cakes",
      description: "Best éclairs",
      canonical: "/tea",
      language: "en-GB",
      base: "/shop/",
      noindex: false,
      nofollow: false,
    });
  });

  test("it reads headings, links, text and JSON-LD", () => {
    expect(page.headings).toEqual([
      { level: 1, text: "Tea" },
      { level: 2, text: "And cakes" },
    ]);
    expect(page.links).toEqual([
      { href: "a.html", text: "First", nofollow: false },
      { href: "b.html", text: "Second", nofollow: true },
      { href: "c.html", text: "A cake", nofollow: false },
    ]);
    expect(page.text).toBe("First Second\nTea\nOne\ntwo <three>\nAnd cakes");
    expect(page.jsonLd).toEqual([{ "@type": "Product" }]);
  });
});

describe("broken HTML:", () => {
  test.each<[string, string, Partial<Page>]>([
    [
      "nothing at all",
      "",
      { title: null, description: null, text: "", links: [], headings: [], canonical: null },
    ],
    ["text alone", "just text", { title: null, text: "just text" }],
    ["no title", "<h1>x</h1>", { title: null }],
    [
      "an empty title, and one for others",
      '<title> </title><meta property="og:title" content="T">',
      { title: "T" },
    ],
    ["two titles", "<title>a</title><title>b</title>", { title: "a" }],
    ["a title in a picture", "<svg><title>no</title></svg><title>yes</title>", { title: "yes" }],
    [
      "a picture of a megabyte between two words",
      `one <svg viewBox="0 0 1 1"><title>no</title>${'<path d="M0 0"/>'.repeat(60_000)}</svg>two`,
      { title: null, text: "one two", links: [] },
    ],
    ["a picture that never ends", "<svg><title>no</title><p>yes", { text: "yes" }],
    ["a title that never ends", "<title>a<p>b", { title: "a<p>b" }],
    ["a script that never ends", "a<script>b<p>c", { text: "a" }],
    ["a comment that never ends", "a<!-- b <p>c", { text: "a" }],
    ["elements that never end", "<p>a<b>b<p>c<li>d", { text: "ab\nc\nd" }],
    ["ends without beginnings", "</div>a</p>b</li>c</body>d", { text: "a\nbcd" }],
    ["overlapping elements", "<b>a<i>b</b>c</i>d", { text: "abcd" }],
    [
      "tables in tables in tables, as pages were laid out once",
      "<table><tr><td>a<table><tr><td>b<table><tr><td>c<td>d</table></table><td>e</table>f",
      { text: "a\nb\nc d\ne\nf" },
    ],
    ["cells without ends", "<table><tr><td>1<td>2<tr><th>3", { text: "1 2\n3" }],
    [
      "entities without ends, and unknown ones",
      "&lt &amp; &ampx &nope; &#233; &#x1F600; &nbsp;x",
      { text: "< & &x &nope; é 😀 x" },
    ],
    ["an entity that is NUL", "a&#0;b", { text: "a\ufffdb" }],
    [
      "attributes without quotes, and twice",
      "<a href=a.html href=b.html rel=NOFOLLOW>x",
      { links: [{ href: "a.html", text: "x", nofollow: true }] },
    ],
    [
      "entities in an attribute",
      '<a href="?a=1&amp;b=2&copy=3">x</a>',
      { links: [{ href: "?a=1&b=2&copy=3", text: "x", nofollow: false }] },
    ],
    [
      "a link in a link",
      "<a href=a>one<a href=b>two</a>three</a>",
      {
        links: [
          { href: "a", text: "one", nofollow: false },
          { href: "b", text: "two", nofollow: false },
        ],
      },
    ],
    ["a link without an address", "<a name=top>x</a><a>y</a>", { links: [] }],
    ["an area", '<map><area href="a" alt="A"></map>', { links: [{ href: "a", text: "A", nofollow: false }] }],
    [
      "headings in headings",
      "<h1>a<h2>b</h2>",
      {
        headings: [
          { level: 1, text: "a" },
          { level: 2, text: "b" },
        ],
      },
    ],
    ["a heading of white space", "<h1> \n</h1>", { headings: [] }],
    ["two bases", "<base target=_top><base href=/a><base href=/b>", { base: "/a" }],
    [
      "a canonical that is said twice",
      "<link rel=canonical href=/a><link rel=canonical href=' /a '>",
      { canonical: "/a" },
    ],
    [
      "canonicals that differ",
      "<link rel=canonical href=/a><link rel='alternate canonical' href=/b>",
      { canonical: null },
    ],
    ["a canonical without an address", "<link rel=canonical>", { canonical: null }],
    [
      "JSON-LD of which some is no JSON",
      "<script type=application/ld+json>{bad}</script><SCRIPT TYPE='application/LD+JSON; charset=utf-8'>[1]</SCRIPT><script type=application/ld+json></script>",
      { jsonLd: [[1]] },
    ],
    [
      "what is not shown",
      "a<noscript>b</noscript><template>c</template><select><option>d</select><textarea>e</textarea>f",
      { text: "af" },
    ],
    ["a select that never ends", "a<select><option>b<p>c", { text: "a\nc" }],
    ["upper case", "<TITLE>a</TITLE><H1>b</H1>", { title: "a", headings: [{ level: 1, text: "b" }] }],
    [
      "XHTML",
      '<?xml version="1.0"?><html xmlns="x"><title>a</title><p/><br/>b<![CDATA[c]]></html>',
      { title: "a", text: "b" },
    ],
  ])("%s", (_, html, expected) => {
    expect(read(html)).toMatchObject(expected);
  });
});

test.each([
  ["noindex", true, false],
  ["NoFollow", false, true],
  ["none", true, true],
  ["noindex,nofollow", true, true],
  ["max-snippet:-1, noindex", true, false],
  ["index, follow", false, false],
  ["", false, false],
])("a robots meta of %j", (content, noindex, nofollow) => {
  expect(robotsOf(content)).toEqual({ noindex, nofollow });
  expect(read(`<meta name="ROBOTS" content="${content}">`)).toMatchObject({ noindex, nofollow });
  expect(read(`<meta name="sluice" content="${content}">`)).toMatchObject({ noindex, nofollow });
  expect(read(`<meta name="otherbot" content="${content}">`)).toMatchObject({
    noindex: false,
    nofollow: false,
  });
});

describe("what a DOM is made of", () => {
  test("has no scripts, styles and handlers, and is well-formed", () => {
    const { clean } = read(
      '<title>a&b</title><p onclick="x()" style="y" class="c">1<script>2</script><b>3<img src=a.png>',
    );
    expect(clean).toBe(
      '<!doctype html><html lang=""><head><title>a&amp;b</title></head><body><p class="c">1<b>3<img src="a.png"></b></p></body></html>',
    );
  });

  test("is never more than so many elements, so deep", () => {
    expect(read("<p>x".repeat(30_000)).clean).toBeUndefined();
    const deep = read(`${"<div>".repeat(300)}x${"</div>".repeat(300)}`).clean ?? "";
    expect(deep.match(/<div>/g)).toHaveLength(100);
    expect(deep.match(/<\/div>/g)).toHaveLength(100);
    expect(deep).toContain("x");
  });

  test("of whatever is read, has an end for each beginning", () => {
    const piece = fc.constantFrom(
      "<p>",
      "</p>",
      "<b>",
      "</b>",
      "<svg>",
      "</svg>",
      "<select>",
      "<table>",
      "<td>",
      "<br>",
      "</div>",
      "<script>",
      "</script>",
      "<a href=x>",
      "</a>",
      "x",
      "&lt;",
      "<",
      '"',
      "<!--",
      "-->",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const open: string[] = [];
        for (const [, slash, name = ""] of (read(pieces.join("")).clean ?? "").matchAll(/<(\/?)([a-z]+)/g))
          if (slash === "/") expect(open.pop()).toBe(name);
          else if (name !== "br") open.push(name);
        expect(open).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});

test.each([
  ["<div>".repeat(200_000)],
  ["</p>".repeat(30_000)],
  [`${"<a>".repeat(500)}${"</x>".repeat(50_000)}`],
  ["<".repeat(50_000)],
  ['<a href="'.repeat(50_000)],
  [`<p ${"a".repeat(500_000)}`],
  [`<p>${" ".repeat(500_000)}x`],
])("hostile pages take linear time: %#", async (html) => {
  expect(await fastestMs(1_000, async () => read(html))).toBeLessThan(1_000);
});
