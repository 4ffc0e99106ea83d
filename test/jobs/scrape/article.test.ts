/** Articles as Markdown, of what page.ts makes of pages. */
import { beforeAll, expect, test } from "vitest";
import { type ArticleReader, loadArticleReader } from "../../../src/jobs/scrape/article.ts";
import { readPage } from "../../../src/jobs/scrape/page.ts";

let readArticle: ArticleReader;
beforeAll(async () => {
  readArticle = await loadArticleReader();
});

const TEXT =
  "A paragraph that is long enough, with commas, to be taken for the text of an article by whoever looks.";
const articleOf = (html: string) =>
  readArticle(readPage(html, "sluice").clean ?? "", "https://a.example/dir/page");

test("what is around an article is left out, and what is in it is Markdown", () => {
  const article = articleOf(`<html lang=en><title>The title | A site</title><meta name=author content="Ann">
    <body><nav>${"<a href=/n>menu</a> ".repeat(30)}</nav><div id=main>
    <h2>First</h2><p>${TEXT} <b>Bold</b>, <em>em</em>, <code>x &lt; y</code>.</p>
    <ul><li>one<li>two</ul><pre><code>a = 1
  b = 2</code></pre><blockquote>said</blockquote><p>${TEXT}</p><p><img src=i.png alt="A pic"> <a href="../up?a=1&amp;b=2#c">up</a>
    <a href="javascript:alert(1)">bad</a></p><p>${TEXT}</p><script>alert(1)</script></div>
    <footer>© A site</footer></body></html>`);
  expect(article?.byline).toBe("Ann");
  expect(article?.markdown).toContain("## First");
  expect(article?.markdown).toContain("**Bold**, *em*, `x < y`");
  expect(article?.markdown).toMatch(/- {1,3}one\n- {1,3}two/);
  expect(article?.markdown).toContain("```\na = 1\n  b = 2\n```");
  expect(article?.markdown).toContain("> said");
  expect(article?.markdown).toContain("![A pic](https://a.example/dir/i.png)");
  expect(article?.markdown).toContain("[up](https://a.example/up?a=1&b=2#c)");
  for (const absent of ["menu", "alert", "javascript", "© A site"])
    expect(article?.markdown).not.toContain(absent);
});

test.each([
  ["nothing", ""],
  ["no text", "<div><div></div></div>"],
  ["tags that never end", `<div><p>${TEXT}<p>${TEXT}<p>${TEXT}<div><b><i>`],
  [
    "an article in a table in a form",
    `<form><table><tr><td><article><p>${TEXT}</p><p>${TEXT}</p></article></table>`,
  ],
  ["elements that no DOM knows", `<x-a><y:b><o:p>${TEXT}</o:p></y:b></x-a>`],
])("a page of %s gives an article or none, and no error", (_, html) => {
  const article = articleOf(html);
  if (article) expect(article.markdown).toBeTypeOf("string");
});
