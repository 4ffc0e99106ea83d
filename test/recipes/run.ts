/**
 * `npm run recipes`: does what the pages tell a user to do, in a clone of what is committed.
 *
 * The calls that the pages show must print what the pages print. Each recipe alone must pass `npm run check`; all of
 * them together must also start, and pass `npm test`.
 *
 *     --only "a route"    one recipe alone
 *
 * The exit code is 1 if a recipe does not hold.
 */
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { hasCurl } from "../support/curl.ts";
import { startDevIn, temporaryFolder } from "../support/dev-server.ts";
import { codeBlocksOf, type Page, readPages } from "../support/markdown.ts";
import { applyRecipes, linesOfShell } from "./apply.ts";
import { callsOf, makeCalls } from "./calls.ts";
import { RECIPES, type Recipe } from "./recipes.ts";

const root = dirname(dirname(import.meta.dirname));
const clone = temporaryFolder();
process.once("exit", clone.remove);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

const { values } = parseArgs({ options: { only: { type: "string" } } });
const recipes = RECIPES.filter(({ name }) => (values.only ?? name) === name);
if (recipes.length === 0) {
  console.error(`There are: ${RECIPES.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

await step("a clone of what is committed, and npm ci", () => {
  rmSync(clone.path, { recursive: true });
  spawnSync("git", ["clone", "--quiet", root, clone.path]);
  run("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline");
});
if (values.only === undefined && hasCurl) {
  for (const page of readPages(clone.path).filter((candidate) => callsOf(candidate).length > 0))
    await step(`the calls that ${page.path} shows`, () => checkCalls(page));
}
for (const recipe of recipes) await step(`${recipe.name}: npm run check`, () => check([recipe]));
await step("all of them: npm run check", () => check(recipes));
await step("all of them: npm run dev", () => withServer(async () => {}));
await step("all of them: npm test", () => run("npm", "test"));

/** Does a part, and prints its name and how long it took. */
async function step(what: string, action: () => void | Promise<void>): Promise<void> {
  const startMs = performance.now();
  try {
    await action();
  } catch (error) {
    console.error(`  FAILED  ${what}\n${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
  console.log(`  ok      ${what} (${Math.round((performance.now() - startMs) / 1000)} s)`);
}

/** Runs a command in the clone; what it prints is shown if it fails. */
function run(command: string, ...args: string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: clone.path, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
}

function reset(): void {
  run("git", "checkout", "--quiet", ".");
  run("git", "clean", "-dxq", "--force", "--exclude", "node_modules");
}

/** Applies recipes, sorts the imports as `npm run fix` does, and checks what has become of the clone. */
function check(those: Recipe[]): void {
  reset();
  applyRecipes(clone.path, those);
  run("npx", "biome", "check", "--write");
  run("npm", "run", "check");
}

/** Makes the calls of a page, after its recipes. */
async function checkCalls(page: Page): Promise<void> {
  reset();
  const those = RECIPES.filter((recipe) => recipe.page === page.path);
  applyRecipes(clone.path, those);
  await withHelpers(page, () => withServer((url) => makeCalls(page, url, clone.path)));
}

/** Runs the Worker in the clone as it is, for as long as `action` takes. */
async function withServer(action: (url: string) => Promise<void>): Promise<void> {
  rmSync(join(clone.path, ".wrangler"), { recursive: true, force: true });
  const server = await startDevIn(clone.path);
  try {
    await action(server.url);
  } finally {
    await server.kill();
  }
}

/** Runs what the page starts in the background (`… &`), such as a stand-in for an upstream. */
async function withHelpers(page: Page, action: () => Promise<void>): Promise<void> {
  const commands = linesOfShell(codeBlocksOf(page)).filter((line) => line.endsWith(" &"));
  const helpers = commands.map((line) =>
    spawn("sh", ["-c", `exec ${line.slice(0, -2)}`], { stdio: "ignore" }),
  );
  try {
    await action();
  } finally {
    for (const helper of helpers) helper.kill("SIGKILL");
  }
}
