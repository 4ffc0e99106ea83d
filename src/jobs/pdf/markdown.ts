/**
 * Markdown as a document: CommonMark with GitHub's tables and task lists, read by marked. HTML in it is shown as it is
 * written. A chart is a code block of the language `chart`, with the chart as JSON.
 */

import type { MarkedToken, Token, Tokens } from "marked";
import { type Block, documentSchema, type Inline, type Span } from "./document.ts";
import { PdfError } from "./pdf-error.ts";

export interface MarkdownDocument {
  blocks: Block[];
  /** Images that are no stored files: their addresses. */
  skippedImages: string[];
}

/** Throws a `PdfError` for a chart that is none, and for quotes and lists that are nested too deeply. */
export async function readMarkdown(text: string): Promise<MarkdownDocument> {
  const { marked } = await import("marked");
  const reader = new Reader();
  try {
    reader.blocks(marked.lexer(text.replace(/^\ufeff/, "")));
  } catch (error) {
    // marked and the reader call themselves for what is inside: the stack is full.
    if (error instanceof RangeError) throw new PdfError("it is nested too deeply");
    throw error;
  }
  return { blocks: reader.result, skippedImages: reader.skippedImages };
}

/** Without extensions of its own, marked makes no other tokens. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `Token` allows for extensions
const known = (tokens: readonly Token[]) => tokens as readonly MarkedToken[];

type Style = Omit<Span, "text">;

class Reader {
  readonly result: Block[] = [];
  readonly skippedImages: string[] = [];

  blocks(tokens: readonly Token[]): void {
    for (const token of known(tokens)) this.#block(token);
  }

  #block(token: MarkedToken): void {
    switch (token.type) {
      case "heading":
        return this.#add({
          type: "heading",
          level: Math.min(token.depth, 4),
          text: this.#inline(token.tokens),
        });
      case "paragraph":
      case "text":
        return this.#paragraph(token);
      case "list":
        return this.#list(token);
      case "code":
        return this.#code(token);
      case "blockquote":
        return this.#quote(token.tokens);
      case "table":
        return this.#table(token);
      case "hr":
        return this.#add({ type: "rule" });
      case "html":
        return this.#add({ type: "paragraph", text: [{ text: token.raw.trim(), code: true }] });
      case "space":
      case "def":
        return;
      // They stand in lines of text, and not by themselves.
      case "br":
      case "checkbox":
      case "codespan":
      case "del":
      case "em":
      case "escape":
      case "image":
      case "link":
      case "list_item":
      case "strong":
        return this.#add({ type: "paragraph", text: token.raw });
    }
  }

  #add(block: Block): void {
    this.result.push(block);
  }

  /** An image in it becomes a block of its own. */
  #paragraph(token: Tokens.Paragraph | Tokens.Text): void {
    let open: MarkedToken[] = [];
    const end = () => {
      const text = this.#inline(open);
      if (textOf(text).trim() !== "") this.#add({ type: "paragraph", text });
      open = [];
    };
    for (const part of known(token.tokens ?? [{ ...token, type: "text", escaped: false }])) {
      const fileId = part.type === "image" ? storedFile(part.href) : undefined;
      if (part.type !== "image" || fileId === undefined) open.push(part);
      else {
        end();
        this.#add({
          type: "image",
          fileId,
          ...(part.text ? { caption: part.text.slice(0, 500) } : {}),
        });
      }
    }
    end();
  }

  #list(list: Tokens.List): void {
    const items: Extract<Block, { type: "list" }>["items"] = [];
    const others: Token[] = [];
    const read = ({ ordered, start, items: all }: Tokens.List, depth: number) => {
      for (const [i, item] of all.entries()) {
        const inline = known(item.tokens).filter((part) => part.type === "text" || part.type === "paragraph");
        const task = item.task ? { marker: item.checked ? "☑" : "☐" } : {};
        const number = ordered ? { marker: `${(Number(start) || 1) + i}.` } : {};
        const text = inline.flatMap((part, n) => [
          ...(n === 0 ? [] : [{ text: "\n" }]),
          ...this.#inline(part.tokens ?? [part]),
        ]);
        items.push({ text, depth, ...number, ...task });
        for (const part of known(item.tokens)) {
          if (part.type === "list") read(part, Math.min(depth + 1, 5));
          else if (!["text", "paragraph", "space", "checkbox"].includes(part.type)) others.push(part);
        }
      }
    };
    read(list, 0);
    this.#add({ type: "list", items });
    // Code and tables of items stand below the list.
    this.blocks(others);
  }

  #quote(tokens: readonly Token[]): void {
    for (const token of known(tokens)) {
      if (token.type === "paragraph" || token.type === "text")
        this.#add({ type: "quote", text: this.#inline(token.tokens ?? [token]) });
      else this.#block(token);
    }
  }

  #code({ lang, text }: Tokens.Code): void {
    if (lang !== "chart") return this.#add({ type: "code", text });
    let chart: unknown;
    try {
      chart = JSON.parse(text);
    } catch {
      throw new PdfError("a code block `chart` is not JSON");
    }
    const block = typeof chart === "object" && chart !== null ? { ...chart, type: "chart" } : chart;
    const { data, error } = documentSchema.safeParse({ blocks: [block] });
    if (error) {
      const [issue] = error.issues;
      throw new PdfError(
        `a code block \`chart\` is no chart: ${issue?.path.slice(2).join(".")} ${issue?.message}`,
      );
    }
    this.result.push(...data.blocks);
  }

  #table({ header, rows, align }: Tokens.Table): void {
    const columns = header.map((cell, i) => {
      const side = align[i];
      return { title: this.#inline(cell.tokens), ...(side ? { align: side } : {}) };
    });
    this.#add({
      type: "table",
      columns,
      rows: rows.map((row) => row.map((cell) => this.#inline(cell.tokens))),
    });
  }

  #inline(tokens: readonly Token[] = [], style: Style = {}): Span[] {
    return known(tokens).flatMap((token): Span[] => {
      switch (token.type) {
        case "strong":
          return this.#inline(token.tokens, { ...style, bold: true });
        case "em":
          return this.#inline(token.tokens, { ...style, italic: true });
        case "codespan":
          return [{ ...style, text: plain(token.text), code: true }];
        case "link":
          return this.#inline(token.tokens, { ...style, ...linkTo(token.href) });
        case "image":
          this.skippedImages.push(token.href);
          return [{ ...style, text: `[${token.text || token.href}]` }];
        case "br":
          return [{ ...style, text: "\n" }];
        case "del":
        case "text":
          if (token.tokens) return this.#inline(token.tokens, style);
          return [{ ...style, text: plain(token.text) }];
        case "escape":
          return [{ ...style, text: plain(token.text) }];
        case "checkbox":
          return [];
        case "html":
        // Blocks, which do not stand in lines of text.
        case "blockquote":
        case "code":
        case "def":
        case "heading":
        case "hr":
        case "list":
        case "list_item":
        case "paragraph":
        case "space":
        case "table":
          return [{ ...style, text: token.raw }];
      }
    });
  }
}

const textOf = (inline: Inline) =>
  typeof inline === "string" ? inline : inline.map(({ text }) => text).join("");

/** Lines of the source are no lines of the text. */
const plain = (text: string) => decodeEntities(text.replaceAll("\n", " "));

const ENTITIES: Record<string, string> = {
  amp: "&",
  apos: "'",
  copy: "©",
  euro: "€",
  gt: ">",
  hellip: "…",
  laquo: "«",
  lt: "<",
  mdash: "—",
  nbsp: "\u00a0",
  ndash: "–",
  quot: '"',
  raquo: "»",
  times: "×",
};

/** The entities that are met in Markdown; any other stays as it is written. */
function decodeEntities(text: string): string {
  return text.replaceAll(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,6}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return Object.hasOwn(ENTITIES, name) ? (ENTITIES[name] ?? whole) : whole;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code).toWellFormed() : whole;
  });
}

const linkTo = (href: string) =>
  /^(?:https?:\/\/|mailto:)[\x21-\x7e]{1,1990}$/.test(href) ? { link: href } : {};

/** `report-1` and `/files/report-1` are the id of a stored file. */
const storedFile = (href: string) => /^(?:\/files\/)?([\w-][\w.-]{0,127})$/.exec(href)?.[1];
