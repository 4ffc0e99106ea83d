/**
 * Writes HTML that a DOM can be made of in bounded memory and time: well-formed, with one head and one body, with a bounded
 * number of elements, which are nested to a bounded depth, and with the few attributes that say something about an article.
 */

/** A DOM needs about half a kilobyte for each, and what is made of it twice as much again. */
const MAX_ELEMENTS = 20_000;
/** Deeper elements are left out; their text stays. */
const MAX_DEPTH = 100;
const MAX_VALUE_LENGTH = 2_000;

const ATTRIBUTES = new Set(
  (
    "alt aria-hidden class colspan content datetime dir hidden href id itemprop itemtype lang name property rel role " +
    "rowspan src start title"
  ).split(" "),
);
const VOID = new Set("area br col embed hr img input param source track wbr".split(" "));
/** They are written in their place, whatever place they had. */
const OF_THE_HEAD = new Set(["base", "body", "head", "html", "link", "meta", "title"]);
const NAME = /^[a-z][a-z0-9-]*$/;

export class CleanHtml {
  #head = "";
  #body = "";
  /** Of each open element, whether it was written. */
  readonly #open: boolean[] = [];
  #written = 0;
  #depth = 0;

  /** To be called for each element in order; `close` for each, too. */
  open(name: string, attributes: Record<string, string>): void {
    if (name === "meta" && this.#written++ <= MAX_ELEMENTS) this.#head += `<meta${attributesOf(attributes)}>`;
    const isWritten =
      !OF_THE_HEAD.has(name) && this.#depth < MAX_DEPTH && this.#written <= MAX_ELEMENTS && NAME.test(name);
    this.#open.push(isWritten);
    if (!isWritten) return;
    this.#written++;
    this.#depth++;
    this.#body += `<${name}${attributesOf(attributes)}>`;
  }

  close(name: string): void {
    if (this.#open.pop() !== true) return;
    this.#depth--;
    if (!VOID.has(name)) this.#body += `</${name}>`;
  }

  write(text: string): void {
    if (this.#written <= MAX_ELEMENTS) this.#body += escape(text);
  }

  /** The page; undefined if there were too many elements. */
  finish(title: string, language: string): string | undefined {
    if (this.#written > MAX_ELEMENTS) return undefined;
    const head = `<title>${escape(title)}</title>${this.#head}`;
    return `<!doctype html><html lang="${escape(language)}"><head>${head}</head><body>${this.#body}</body></html>`;
  }
}

function attributesOf(attributes: Record<string, string>): string {
  let text = "";
  for (const [name, value] of Object.entries(attributes))
    if (ATTRIBUTES.has(name) && value.length <= MAX_VALUE_LENGTH) text += ` ${name}="${escape(value)}"`;
  return text;
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text: string): string => text.replaceAll(/[&<>"]/g, (character) => ESCAPES[character] ?? "");
