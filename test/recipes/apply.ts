/**
 * Does what a recipe tells its reader to do, with the code blocks of its page:
 *
 *     // src/jobs/greet.ts    a block that begins with the path of a file is that file
 *     # wrangler.toml         its tables are added to the file, and its variables replace those of the same name
 *     # .dev.vars             its lines are added to the file
 *     diff                    changes the file whose path it begins with; an added import goes to the other imports
 *     sh                      lines that add to a file (`echo … >> .dev.vars`) are run
 *
 * Every other block only shows something.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type CodeBlock, codeBlocksUnder } from "../support/markdown.ts";
import { RECIPES, type Recipe } from "./recipes.ts";

/** Applies recipes to a clone in `folder`, each once, and after those that it builds on. */
export function applyRecipes(folder: string, recipes: Recipe[]): void {
  const all = new Set(recipes.flatMap(withFoundations));
  for (const recipe of all) applyRecipe(folder, recipe);
}

const withFoundations = (recipe: Recipe): Recipe[] => [
  ...RECIPES.filter(({ name }) => recipe.after?.includes(name)).flatMap(withFoundations),
  recipe,
];

function applyRecipe(folder: string, { page, heading }: Recipe): void {
  const blocks = codeBlocksUnder({ path: page, text: readFileSync(join(folder, page), "utf8") }, heading);
  const files = blocks.flatMap(fileOf);
  if (files.length === 0) throw new Error(`${page}: "${heading}" has no code block that names its file`);
  for (const file of files) applyBlock(folder, file);
  for (const line of linesOfShell(blocks).filter((text) => /^echo .* >> \S+$/.test(text)))
    spawnSync("sh", ["-c", line], { cwd: folder });
}

/** The lines of all `sh` blocks. */
export const linesOfShell = (blocks: CodeBlock[]): string[] =>
  blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.split("\n"));

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
