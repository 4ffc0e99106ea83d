/**
 * The article of a page as Markdown: what a reader came for, without navigation, advertisements and footers.
 *
 * Readability finds it, in a DOM of linkedom; Turndown writes it down. The three are large, so they are loaded when the
 * first page asks for them. They take about 2.5 s of CPU for a megabyte of dense HTML.
 */
export interface Article {
  title: string | null;
  byline: string | null;
  excerpt: string | null;
  /** When it was published, as the page says. */
  publishedTime: string | null;
  markdown: string;
}

/** What is needed of a document here. */
interface Dom {
  body: object;
  querySelectorAll(selector: string): Iterable<{
    getAttribute(name: string): string | null;
    setAttribute(name: string, value: string): void;
    removeAttribute(name: string): void;
  }>;
}

export type ArticleReader = (clean: string, url: string) => Article | null;

/** Loads what it takes to read articles. */
export async function loadArticleReader(): Promise<ArticleReader> {
  const [{ parseHTML }, { Readability }, { default: Turndown }] = await Promise.all([
    import("linkedom/worker"),
    import("@mozilla/readability"),
    import("turndown"),
  ]);
  const turndown = new Turndown({
    headingStyle: "atx",
    codeBlockStyle: "fenced",
    bulletListMarker: "-",
    emDelimiter: "*",
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types of a DOM are not in this project
  const domOf = (html: string) => parseHTML(html).document as unknown as Dom;
  return (clean, url) => {
    const document = domOf(clean);
    resolveReferences(document, url);
    const found = new Readability(document, { charThreshold: 200 }).parse();
    if (!found?.content) return null;
    const markdown = turndown.turndown(domOf(`<html><body>${found.content}</body></html>`).body);
    const { title, byline, excerpt, publishedTime } = found;
    return {
      title: title || null,
      byline: byline || null,
      excerpt: excerpt || null,
      publishedTime: publishedTime || null,
      markdown: markdown.trim(),
    };
  };
}

/** Links and images as absolute URLs, so that they lead somewhere from the Markdown too. */
function resolveReferences(document: Dom, url: string): void {
  for (const name of ["href", "src"])
    for (const element of document.querySelectorAll(`[${name}]`)) {
      const reference = element.getAttribute(name) ?? "";
      const absolute = URL.canParse(reference, url) ? new URL(reference, url).href : "";
      if (/^https?:|^mailto:/.test(absolute)) element.setAttribute(name, absolute);
      else element.removeAttribute(name);
    }
}
