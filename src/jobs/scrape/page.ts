/**
 * What a page says: its title, description, canonical address, headings, links, text and JSON-LD, and what it asks of
 * robots, read in one pass over its HTML.
 *
 * Pages are broken in every way: nothing here fails, and the time is linear in the length. Tags are taken as htmlparser2
 * gives them, balanced. (The platform's own HTMLRewriter leaves entities as they are, and rejects some broken pages.)
 * Where elements are nested more deeply than browsers take, the page ends.
 *
 * The same pass writes `clean`, the page with its scripts, styles and most attributes left out, and with a bounded number of
 * elements: what a DOM can be made of in bounded memory.
 */
import { Parser } from "htmlparser2";
import { CleanHtml } from "./clean-html.ts";
import { TextBuilder } from "./page-text.ts";

/** Browsers nest no deeper (Blink and WebKit: 512). */
const MAX_DEPTH = 512;
const MAX_LINKS = 2_000;
const MAX_HEADINGS = 500;
/** Of the text of a link or a heading, in characters. */
const MAX_LABEL_LENGTH = 300;
/** Of a title or a description. */
const MAX_SUMMARY_LENGTH = 2_000;
const MAX_JSON_LD_LENGTH = 200_000;

interface Link {
  /** As it is written. */
  href: string;
  text: string;
  /** The page asks not to follow it. */
  nofollow: boolean;
}

export interface Page {
  title: string | null;
  description: string | null;
  /** As it is written; null if there is none, or if there are several that differ. */
  canonical: string | null;
  language: string | null;
  /** What relative links start from, as it is written. */
  base: string | null;
  noindex: boolean;
  nofollow: boolean;
  headings: { level: number; text: string }[];
  links: Link[];
  text: string;
  /** The value of each JSON-LD script that is JSON. */
  jsonLd: unknown[];
  /** HTML for a DOM; undefined if it would be too large for one. */
  clean: string | undefined;
}

/** Elements whose content is not text of the page. Some are ended by a block, which cannot be in them. */
const SKIPPED = new Set([
  "script",
  "style",
  "template",
  "iframe",
  "object",
  "canvas",
  "textarea",
  "audio",
  "video",
]);
const SKIPPED_TO_BLOCK = new Set(["svg", "math", "select", "noscript"]);
const BLOCKS = new Set(
  (
    "address article aside blockquote body center dd details dialog div dl dt fieldset figcaption figure footer form h1 " +
    "h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary table tbody tfoot thead tr ul"
  ).split(" "),
);
const HEADING = /^h[1-6]$/;

/** Reads a page. `agent` is the name, in lower case, under which it may speak to this robot alone. */
export function readPage(html: string, agent: string): Page {
  const reader = new PageReader(agent);
  const parser = new Parser({
    onopentag: (name, attributes) => reader.open(name, attributes),
    onclosetag: (name) => reader.close(name),
    ontext: (text) => reader.write(text),
  });
  // In pieces, so that a page that is over early costs no more.
  for (let at = 0; at < html.length && !reader.isOver; at += 65_536)
    parser.write(html.slice(at, at + 65_536));
  parser.end();
  return reader.page();
}

type Attributes = Record<string, string>;

class PageReader {
  /** The page is nested too deeply: what comes is left out. */
  isOver = false;
  readonly #agent: string;
  readonly #text = new TextBuilder();
  readonly #clean = new CleanHtml();
  /** Of each open element, whether it counts: those in a skipped one do not. */
  readonly #open: boolean[] = [];
  /** The element whose content is skipped. */
  #skipped: { name: string; depth: number } | undefined;
  #title: string | undefined;
  #heading: { level: number; text: string } | undefined;
  #link: Link | undefined;
  #jsonLd: string | undefined;
  #named = new Map<string, string>();
  #canonicals = new Set<string>();
  readonly #page = { noindex: false, nofollow: false, headings: [] as Page["headings"] };
  #language: string | null = null;
  #base: string | null = null;
  readonly #links: Link[] = [];
  readonly #values: unknown[] = [];

  constructor(agent: string) {
    this.#agent = agent;
  }

  open(name: string, attributes: Attributes): void {
    this.isOver ||= this.#open.length >= MAX_DEPTH;
    if (this.isOver) return;
    if (this.#skipped && SKIPPED_TO_BLOCK.has(this.#skipped.name) && BLOCKS.has(name))
      this.#skipped = undefined;
    const isSkipped = this.#skipped !== undefined || SKIPPED.has(name) || SKIPPED_TO_BLOCK.has(name);
    this.#open.push(!isSkipped);
    if (isSkipped) {
      if (name === "script" && !this.#skipped && isJsonLd(attributes)) this.#jsonLd = "";
      this.#skipped ??= { name, depth: this.#open.length };
      return;
    }
    this.#clean.open(name, attributes);
    if (BLOCKS.has(name) || name === "br") this.#text.breakLine();
    else if (name === "td" || name === "th") this.#text.write(" ");
    this.#note(name, attributes);
  }

  close(name: string): void {
    if (this.isOver) return;
    if (this.#skipped?.depth === this.#open.length) this.#endSkipped();
    if (this.#open.pop() !== true) return;
    this.#clean.close(name);
    if (BLOCKS.has(name)) this.#text.breakLine();
    if (name === "title") this.#endTitle();
    else if (name === "a") this.#link = undefined;
    else if (HEADING.test(name)) this.#heading = undefined;
  }

  write(text: string): void {
    if (this.isOver) return;
    if (this.#skipped) {
      if (this.#jsonLd !== undefined && this.#jsonLd.length < MAX_JSON_LD_LENGTH) this.#jsonLd += text;
      return;
    }
    if (this.#isInTitle) {
      this.#title = (this.#title ?? "") + text.slice(0, MAX_SUMMARY_LENGTH);
      return;
    }
    this.#clean.write(text);
    this.#text.write(text);
    for (const label of [this.#heading, this.#link])
      if (label && label.text.length < MAX_LABEL_LENGTH) label.text += text.slice(0, MAX_LABEL_LENGTH);
  }

  page(): Page {
    const named = (name: string) => oneLine(this.#named.get(name) ?? "", MAX_SUMMARY_LENGTH) || null;
    const title = oneLine(this.#title ?? "", MAX_SUMMARY_LENGTH) || named("og:title");
    const [canonical = null] = this.#canonicals.size === 1 ? this.#canonicals : [];
    return {
      title,
      description: named("description") ?? named("og:description"),
      canonical,
      language: this.#language,
      base: this.#base,
      noindex: this.#page.noindex,
      nofollow: this.#page.nofollow,
      headings: this.#page.headings.map(labelled).filter(({ text }) => text !== ""),
      links: this.#links.map(labelled),
      text: this.#text.toString(),
      jsonLd: this.#values,
      clean: this.#clean.finish(title ?? "", this.#language ?? ""),
    };
  }

  #isInTitle = false;

  #note(name: string, attributes: Attributes): void {
    if (name === "a" || name === "area") this.#openLink(attributes);
    else if (HEADING.test(name)) this.#openHeading(Number(name[1]));
    else if (name === "img") this.#noteImage(attributes);
    else if (name === "meta") this.#noteMeta(attributes);
    else if (name === "link") this.#noteRelation(attributes);
    else if (name === "base") this.#base ??= attributes.href ?? null;
    else if (name === "html") this.#language ??= attributes.lang?.trim() || null;
    else if (name === "title") this.#isInTitle = this.#title === undefined;
  }

  #endTitle(): void {
    if (this.#isInTitle) this.#title ??= "";
    this.#isInTitle = false;
  }

  /** A link in a link, or a heading in a heading, ends the one before. */
  #openLink({ href, rel, alt }: Attributes): void {
    this.#link = undefined;
    if (href === undefined || this.#links.length >= MAX_LINKS) return;
    this.#link = { href, text: alt ?? "", nofollow: wordsOf(rel).includes("nofollow") };
    this.#links.push(this.#link);
  }

  #openHeading(level: number): void {
    this.#heading = { level, text: "" };
    if (this.#page.headings.length < MAX_HEADINGS) this.#page.headings.push(this.#heading);
  }

  /** What an image shows is the text of a link or a heading around it. */
  #noteImage({ alt }: Attributes): void {
    for (const label of [this.#heading, this.#link])
      if (alt && label && label.text.length < MAX_LABEL_LENGTH) label.text += ` ${alt} `;
  }

  #noteMeta({ name, property, content }: Attributes): void {
    const key = (name ?? property ?? "").trim().toLowerCase();
    if (content === undefined || key === "") return;
    if (key === "robots" || key === this.#agent) this.#noteRobots(content);
    else if (!this.#named.has(key) && this.#named.size < 100) this.#named.set(key, content);
  }

  #noteRobots(content: string): void {
    const { noindex, nofollow } = robotsOf(content);
    this.#page.noindex ||= noindex;
    this.#page.nofollow ||= nofollow;
  }

  #noteRelation({ rel, href }: Attributes): void {
    if (href !== undefined && wordsOf(rel).includes("canonical")) this.#canonicals.add(href.trim());
  }

  #endSkipped(): void {
    const text = this.#jsonLd;
    this.#skipped = undefined;
    this.#jsonLd = undefined;
    const value = text === undefined ? undefined : readJsonLd(text);
    if (value !== undefined) this.#values.push(value);
  }
}

/** What `<meta name="robots">` and `X-Robots-Tag` ask for. */
export function robotsOf(content: string): { noindex: boolean; nofollow: boolean } {
  const words = content.toLowerCase().split(/[\s,]+/);
  const isNone = words.includes("none");
  return { noindex: isNone || words.includes("noindex"), nofollow: isNone || words.includes("nofollow") };
}

const isJsonLd = ({ type }: Attributes) =>
  type?.split(";", 1)[0]?.trim().toLowerCase() === "application/ld+json";

/** Undefined if it is not JSON. */
function readJsonLd(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

const wordsOf = (text: string | undefined): string[] => (text ?? "").toLowerCase().split(/\s+/);

const oneLine = (text: string, maxLength: number): string =>
  text.replaceAll(/\s+/g, " ").trim().slice(0, maxLength);

const labelled = <T extends { text: string }>(label: T): T => ({
  ...label,
  text: oneLine(label.text, MAX_LABEL_LENGTH),
});
