/** As much of Markdown as the pages of this repository use. */

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

const FENCED = /^```.*\n[\s\S]*?^```$/gm;

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

/** The code blocks under a heading, up to the next heading of any level. */
export function codeBlocksUnder(page: Page, heading: string): CodeBlock[] {
  const literally = heading.replace(/[^\p{L}\p{N} ]/gu, "\\$&");
  const start = new RegExp(`^#{1,6} +${literally} *$`, "m").exec(page.text);
  if (!start) throw new Error(`${page.path} has no heading "${heading}"`);
  const blocks: CodeBlock[] = [];
  const rest = page.text.slice(start.index + start[0].length);
  for (const [found, language, text] of rest.matchAll(/^```(\S*)\n([\s\S]*?)^```$|^#{1,6} /gm)) {
    if (found.startsWith("#")) break;
    blocks.push({ language: String(language), text: String(text) });
  }
  return blocks;
}
