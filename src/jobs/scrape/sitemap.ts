/**
 * Reads a sitemap, or an index of sitemaps, as it arrives (https://www.sitemaps.org/protocol.html).
 *
 * All that is wanted are the addresses in `<loc>`. They are found as the text goes by, so a sitemap of 50 MB takes no more
 * memory than a small one, and one that is broken or cut gives what came before. An index has `<sitemapindex>` before its
 * first `<loc>`. A sitemap may also be plain text with a URL on each line.
 */
import { Parser } from "htmlparser2";

const MAX_LOCATION_LENGTH = 2_048;
/** A sitemap needs three. */
const MAX_DEPTH = 100;

export interface SitemapEntries {
  /** Whether they lead to sitemaps. */
  isIndex: boolean;
  locations: string[];
}

/** Takes the text in pieces, and returns what each piece completes. Throws if it is nested as no sitemap is. */
export class SitemapReader {
  readonly #parser: Parser;
  #isIndex = false;
  #isXml: boolean | undefined;
  /** The names of the elements around: a `loc` of an image is no page. */
  readonly #open: string[] = [];
  #location: string | undefined;
  #found: string[] = [];
  #line = "";

  constructor() {
    this.#parser = new Parser(
      {
        onopentag: (name) => this.#begin(nameOf(name)),
        ontext: (text) => this.#write(text),
        onclosetag: (name) => this.#end(nameOf(name)),
      },
      { xmlMode: true },
    );
  }

  write(text: string): SitemapEntries {
    this.#isXml ??= isXml(text);
    if (this.#isXml === true) this.#parser.write(text);
    else this.#writeLines(text);
    return this.#take();
  }

  /** What the end of the text completes. */
  end(): SitemapEntries {
    if (this.#isXml === false) this.#writeLines("\n");
    return this.#take();
  }

  #take(): SitemapEntries {
    const locations = this.#found;
    this.#found = [];
    return { isIndex: this.#isIndex, locations };
  }

  #begin(name: string): void {
    if (name === "sitemapindex") this.#isIndex = true;
    const parent = this.#open.at(-1);
    this.#location = name === "loc" && (parent === "url" || parent === "sitemap") ? "" : undefined;
    if (this.#open.push(name) > MAX_DEPTH) throw new Error("its elements are nested too deeply");
  }

  #write(text: string): void {
    if (this.#location !== undefined && this.#location.length <= MAX_LOCATION_LENGTH) this.#location += text;
  }

  #end(name: string): void {
    this.#open.pop();
    if (name === "loc" && this.#location !== undefined) this.#add(this.#location);
    this.#location = undefined;
  }

  #writeLines(text: string): void {
    const lines = (this.#line + text).split(/[\r\n]+/);
    this.#line = (lines.pop() ?? "").slice(0, MAX_LOCATION_LENGTH + 1);
    for (const line of lines) this.#add(line);
  }

  #add(text: string): void {
    const location = text.trim();
    if (location !== "" && location.length <= MAX_LOCATION_LENGTH) this.#found.push(location);
  }
}

/** Undefined if the text has nothing but white space yet. */
function isXml(text: string): boolean | undefined {
  const start = text.replace(/^\uFEFF/, "").trimStart();
  return start === "" ? undefined : start.startsWith("<");
}

/** Without its prefix: `sm:loc`. */
const nameOf = (name: string): string => name.slice(name.indexOf(":") + 1).toLowerCase();
