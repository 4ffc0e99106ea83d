/**
 * Does what a recipe tells its reader to do, with the code blocks of its page:
 *
 *     // src/jobs/greet.ts    a block that begins with the path of a file is that file
 *     # wrangler.toml         its tables are added to the file, and its variables replace those of the same name
 *     # .dev.vars             its lines are added to the file
 *     diff                    changes the file whose path it begins with; an added import goes to the other imports
 *
 * Every other block only shows something.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type CodeBlock, codeBlocksUnder } from "../support/markdown.ts";
import { RECIPES, type Recipe } from "./recipes.ts";

/** Applies a recipe to a clone in `folder`, after those that it builds on. Gives the files that it has written. */
export function applyRecipe(folder: string, { page, heading, after = [] }: Recipe): string[] {
  const before = after.map((name) => RECIPES.find((recipe) => recipe.name === name));
  const written = before.flatMap((recipe) => (recipe ? applyRecipe(folder, recipe) : []));
  const text = readFileSync(join(folder, page), "utf8");
  const blocks = codeBlocksUnder({ path: page, text }, heading).flatMap(fileOf);
  if (blocks.length === 0) throw new Error(`${page}: "${heading}" has no code block that names its file`);
  for (const block of blocks) applyBlock(folder, block);
  return [...new Set([...written, ...blocks.map(({ path }) => path)])];
}

interface FileBlock {
  path: string;
  language: string;
  /** Without the line that names the file. */
  text: string;
}

function fileOf({ language, text }: CodeBlock): FileBlock[] {
  const [first = "", ...rest] = text.split("\n");
  const [, path] = /^ ?(?:\/\/|#) (\S*\.\w+)$/.exec(first) ?? [];
  return path === undefined ? [] : [{ path, language, text: rest.join("\n") }];
}

function applyBlock(folder: string, { path, language, text }: FileBlock): void {
  const file = join(folder, path);
  const before = existsSync(file) ? readFileSync(file, "utf8") : "";
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, change(before, { path, language, text }));
}

function change(before: string, { path, language, text }: FileBlock): string {
  if (language === "diff") return applyDiff(before, { path, text });
  if (path === "wrangler.toml") return addToToml(before, text);
  if (path === ".dev.vars") return `${before}${text}`;
  return text;
}

function addToToml(before: string, text: string): string {
  const start = text.search(/^\[/m);
  const [variables, tables] = start < 0 ? [text, ""] : [text.slice(0, start), text.slice(start)];
  const changed = variables
    .split("\n")
    .filter((line) => line.includes("="))
    .reduce((toml, line) => replaceOnce(toml, new RegExp(`^${line.split(" ")[0]} = .*$`, "m"), line), before);
  return `${changed}\n${tables}`;
}

function applyDiff(before: string, { path, text }: { path: string; text: string }): string {
  const lines = text.split("\n").filter((line) => line !== "");
  const isImport = (line: string) => line.startsWith("+import ");
  const imports = lines.filter(isImport).map((line) => `${line.slice(1)}\n`);
  const rest = lines.filter((line) => !isImport(line));
  const linesWith = (marks: string) =>
    rest.filter((line) => marks.includes(line.charAt(0))).map((line) => `${line.slice(1)}\n`);
  const [old, now] = [linesWith(" -").join(""), linesWith(" +").join("")];
  if (before.split(old).length !== 2) throw new Error(`${path} does not have, exactly once:\n${old}`);
  return replaceOnce(
    before.replace(old, () => now),
    /^import /m,
    `${imports.join("")}import `,
  );
}

function replaceOnce(text: string, pattern: RegExp, by: string): string {
  if (!pattern.test(text)) throw new Error(`There is no ${String(pattern)} to replace.`);
  return text.replace(pattern, () => by);
}
