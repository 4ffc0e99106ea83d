/** The pages of the repository, and as much of Markdown as they use. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Page {
  /** Relative to the repository. */
  path: string;
  text: string;
}

export interface CodeBlock {
  /** What follows the opening fence: `ts`, `toml`, `diff`, `sh`, … */
  language: string;
  text: string;
}

/** All pages of a repository in `root`. */
export const readPages = (root: string): Page[] =>
  globSync("**/*.md", { cwd: root, exclude: ["**/node_modules", ".wrangler", "dist"] })
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

/** A code block may be indented, as a part of a list. */
const FENCED = /^( *)```(\S*).*\n([\s\S]*?)^\1```$/gm;

/** Without code blocks, which hold no headings, tables or links. */
const proseOf = ({ text }: Page) => text.replace(FENCED, "");

export const headingsOf = (page: Page): string[] =>
  [...proseOf(page).matchAll(/^#{1,6} +(.*?)(?: +#+)? *$/gm)].map(([, heading]) => String(heading));

/** The first cell of each row of each table, headers left out. */
export function firstCellsOf(page: Page): string[] {
  const lines = proseOf(page).split("\n");
  return lines
    .filter((line, i) => line.startsWith("|") && !isRule(line) && !isRule(lines[i + 1] ?? ""))
    .map((line) => /^\|((?:[^|\\]|\\.)*)\|/.exec(line)?.[1]?.trim() ?? "");
}

const isRule = (line: string) => /^\|[\s|:-]+\|$/.test(line);

export const codeSpansOf = (text: string): string[] =>
  [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => String(code));

/** The targets of all links and images. */
export function linksOf(page: Page): string[] {
  const prose = proseOf(page).replace(/`[^`]*`/g, "");
  return [...prose.matchAll(/\]\(<?([^\s)>]+)/g), ...prose.matchAll(/^\[[^\]]+\]: +(\S+)/gm)].map(
    ([, target]) => String(target),
  );
}

/**
 * The anchors of a page, as GitHub makes them: the heading's text in lower case, only its letters, digits, `_`, `-` and
 * spaces, with each space as `-`; a repeated one gets `-1`, `-2`, …
 */
export function anchorsOf(page: Page): Set<string> {
  const anchors = new Set<string>();
  for (const heading of headingsOf(page)) {
    const text = heading.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = text.replace(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, "").replaceAll(" ", "-");
    let unique = anchor;
    for (let i = 1; anchors.has(unique); i++) unique = `${anchor}-${i}`;
    anchors.add(unique);
  }
  return anchors;
}

export const codeBlocksOf = ({ text }: Page): CodeBlock[] =>
  [...text.matchAll(FENCED)].map(([, indent, language, code]) => ({
    language: String(language),
    text: String(code).replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  }));

/** The code blocks under a heading, up to the next heading of the same or a higher level. */
export function codeBlocksUnder(page: Page, heading: string): CodeBlock[] {
  // Code that looks like a heading is none: it is blanked out, and keeps its length.
  const prose = page.text.replace(FENCED, (code) => " ".repeat(code.length));
  const headings = [...prose.matchAll(/^(#{1,6}) +(.*?) *$/gm)];
  const start = headings.find(([, , text]) => text === heading);
  if (!start) throw new Error(`${page.path} has no heading "${heading}"`);
  const level = start[1]?.length ?? 0;
  const end = headings.find(({ index, 1: marks = "" }) => index > start.index && marks.length <= level);
  return codeBlocksOf({ path: page.path, text: page.text.slice(start.index, end?.index) });
}
