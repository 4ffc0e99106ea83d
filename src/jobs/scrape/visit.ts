/**
 * One visit to a page: the call, its text, and what it says, as the record that the file gets.
 */
import { parse } from "content-type";
import { addressOf } from "./addresses.ts";
import type { Article, ArticleReader } from "./article.ts";
import { type Caller, get, readUpTo } from "./calls.ts";
import { decodePage } from "./charset.ts";
import type { Visit } from "./frontier.ts";
import { type Page, readPage, robotsOf } from "./page.ts";

/** Of a page, so much is read. */
export const MAX_PAGE_BYTES = 2 * 1024 * 1024;
/** Of a text or an article, in characters: what is longer is cut. */
const MAX_TEXT_LENGTH = 500_000;
const ACCEPT = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1";
const HTML = new Set(["text/html", "application/xhtml+xml"]);

/** What a line of the file holds. */
interface PageRecord {
  url: string;
  /** Links away from the start. */
  depth: number;
  fetchedAt: string;
  charset: string;
  language: string | null;
  title: string | null;
  description: string | null;
  /** Absolute. */
  canonical: string | null;
  headings: Page["headings"];
  links: { url: string; text: string; nofollow: boolean }[];
  text: string;
  article: Article | null;
  jsonLd: unknown[];
  /** The page was longer than what is read of one, or its text than what is kept. */
  truncated: boolean;
}

export type Visited =
  | {
      is: "page";
      /** Its `PageRecord`, as JSON: it waits to be written in one piece of memory. */
      line: string;
      /** The address under which the page wants to be known. */
      key: string;
      noindex: boolean;
      /** Addresses to follow. */
      links: string[];
      /** Of HTML. */
      size: number;
    }
  /** `to`: undefined if it leads elsewhere. */
  | { is: "redirect"; to: string | undefined }
  | { is: "refused" | "notHtml" }
  | { is: "busy"; afterMs: number; reason: string }
  | { is: "failed"; reason: string };

export interface Visitor {
  caller: Caller;
  upstream: string;
  origin: string;
  agent: string;
  /** Undefined if nobody wants articles. */
  readArticle: ArticleReader | undefined;
}

export async function visitPage(visitor: Visitor, visit: Visit): Promise<Visited> {
  const { caller, upstream, origin } = visitor;
  const answer = await get(caller, upstream, visit.address, { accept: ACCEPT, redirect: "manual" });
  if (answer.is !== "response") return answer;
  const { response } = answer;
  const { status, headers } = response;
  const location = headers.get("location");
  const isHtml = HTML.has(parse(headers.get("content-type") ?? "text/html", { parameters: false }).type);
  if (!response.ok || !isHtml) await response.body?.cancel();
  if (status >= 300 && status < 400 && location !== null) {
    const found = addressOf(location, `${origin}${visit.address}`, origin);
    return { is: "redirect", to: typeof found === "object" ? found.address : undefined };
  }
  if (!response.ok) return { is: "failed", reason: `the upstream responded with ${status}` };
  if (!isHtml) return { is: "notHtml" };
  const body = await readUpTo(response, MAX_PAGE_BYTES, caller.signal);
  if (!body) return { is: "failed", reason: "the response broke off" };
  return toPage(visitor, visit, headers, body);
}

function toPage(
  { origin, agent, readArticle }: Visitor,
  { address, depth }: Visit,
  headers: Headers,
  { bytes, isWhole }: { bytes: Uint8Array; isWhole: boolean },
): Visited {
  const { text: html, charset } = decodePage(bytes, headers.get("content-type"), isWhole);
  const page = readPage(html, agent);
  const header = robotsOf(headers.get("x-robots-tag") ?? "");
  const url = `${origin}${address}`;
  const base = resolve(page.base ?? "", url) ?? url;
  const links = resolveLinks(page, base);
  const canonical = page.canonical === null ? null : (resolve(page.canonical, base) ?? null);
  const article = page.clean === undefined ? null : (readArticle?.(page.clean, base) ?? null);
  const mayFollow = !page.nofollow && !header.nofollow;
  const record: PageRecord = {
    url,
    depth,
    fetchedAt: new Date().toISOString(),
    charset,
    language: page.language,
    title: page.title,
    description: page.description,
    canonical,
    headings: page.headings,
    links,
    text: page.text.slice(0, MAX_TEXT_LENGTH),
    article: article && { ...article, markdown: article.markdown.slice(0, MAX_TEXT_LENGTH) },
    jsonLd: page.jsonLd,
    truncated: !isWhole || Math.max(page.text.length, article?.markdown.length ?? 0) > MAX_TEXT_LENGTH,
  };
  return {
    is: "page",
    line: `${JSON.stringify(record)}\n`,
    key: keyOf(canonical, address, origin),
    noindex: page.noindex || header.noindex,
    links: mayFollow ? followable(links, origin) : [],
    size: html.length,
  };
}

/** Undefined if it is no URL. */
const resolve = (reference: string, base: string): string | undefined =>
  URL.canParse(reference, base) ? new URL(reference, base).href : undefined;

/** Absolute, without fragments, each URL once. A link that may be followed somewhere on the page may be followed. */
function resolveLinks({ links }: Page, base: string): PageRecord["links"] {
  const found = new Map<string, PageRecord["links"][number]>();
  for (const { href, text, nofollow } of links) {
    const url = resolve(href.trim(), base)?.replace(/#.*/s, "");
    if (url === undefined) continue;
    const known = found.get(url);
    if (!known) found.set(url, { url, text, nofollow });
    else if (known.text === "" || (known.nofollow && !nofollow))
      found.set(url, { url, text: known.text || text, nofollow: known.nofollow && nofollow });
  }
  return [...found.values()];
}

/** A canonical address elsewhere is somebody else's word, so it does not make a page a duplicate. */
function keyOf(canonical: string | null, address: string, origin: string): string {
  const found = canonical === null ? undefined : addressOf(canonical, origin, origin);
  return typeof found === "object" ? found.address : address;
}

function followable(links: PageRecord["links"], origin: string): string[] {
  return links.flatMap(({ url, nofollow }) => {
    const found = nofollow ? "foreign" : addressOf(url, origin, origin);
    return typeof found === "object" ? [found.address] : [];
  });
}
