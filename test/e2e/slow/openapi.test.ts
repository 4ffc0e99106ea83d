/**
 * The OpenAPI document, as the tools of its readers see it: Redocly's linter, and openapi-typescript without options.
 *
 * Routes with a tag of your own are left out; what they say is up to you.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../../support/dev-server.ts";
import { sharedServer } from "../../support/node/built-worker.ts";

interface Document {
  tags: { name: string }[];
  paths: Record<string, Record<string, { tags?: string[] }>>;
}

const desk = temporaryFolder();
let document: Document;

beforeAll(async () => {
  const { url } = await sharedServer();
  document = withoutOthers(await (await fetch(`${url}/openapi.json`)).json());
});
afterAll(() => desk.remove());

function withoutOthers({ tags, paths, ...rest }: Document): Document {
  const names = new Set(tags.map(({ name }) => name));
  const ours = Object.entries(paths).map(([path, item]) => [
    path,
    Object.fromEntries(
      Object.entries(item).filter(([, operation]) => operation.tags?.some((tag) => names.has(tag))),
    ),
  ]);
  return { ...rest, tags, paths: Object.fromEntries(ours) };
}

test("redocly lint finds no error", async () => {
  const config = await createConfig({ extends: ["recommended"] });
  const source = JSON.stringify(document);
  const found = await lintFromString({ source, absoluteRef: "openapi.json", config });
  const errors = found.filter(({ severity }) => severity === "error");
  expect(errors.map(({ ruleId, message, location }) => [ruleId, message, location[0]?.pointer])).toEqual([]);
});

test("openapi-typescript makes types in which a request may leave out what has a default", async () => {
  writeFileSync(join(desk.path, "openapi.json"), JSON.stringify(document));
  writeFileSync(join(desk.path, "use.ts"), USE);
  const hook = `data:text/javascript,${encodeURIComponent(HOOK)}`;
  const require = createRequire(import.meta.url);
  const generator = join(dirname(require.resolve("openapi-typescript/package.json")), "bin/cli.js");
  run("--import", hook, generator, "openapi.json", "--output", "api.ts");
  const tsc = join(dirname(dirname(dirname(import.meta.dirname))), "node_modules/.bin/tsc");
  expect(run(tsc, "--noEmit", "--strict", "--allowImportingTsExtensions", "use.ts")).toBe("");
});

/** Runs Node in the test's folder, and returns what it prints. Throws if it fails. */
function run(...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd: desk.path, encoding: "utf8" });
  if (status !== 0) throw new Error(`${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout;
}

/** Requests with no more than what they need; and, to see that the types are not lax, some with less. */
const USE = `
import type { paths } from "./api.ts";

type Json<Path extends keyof paths, Method extends keyof paths[Path]> =
  paths[Path][Method] extends { requestBody: { content: { "application/json": infer Body } } } ? Body : never;

export const task: Json<"/tasks", "post"> = { type: "task_a" };
export const tasks: Json<"/tasks", "post"> = [{ type: "task_a" }, { type: "task_b", priority: 1 }];
export const schedule: Json<"/schedules", "post"> = { cron: "0 * * * *", type: "task_a" };
export const change: Json<"/upstreams/{name}", "patch"> = { concurrency: 2 };
export const query: paths["/tasks"]["get"]["parameters"]["query"] = {};

// @ts-expect-error a task needs a type
export const noType: Json<"/tasks", "post"> = { input: {} };
// @ts-expect-error a schedule needs a pattern
export const noCron: Json<"/schedules", "post"> = { type: "task_a" };
`;

/** openapi-typescript uses the compiler's JavaScript API, which TypeScript 7 does not have: it gets TypeScript 5. */
const HOOK = `
import { registerHooks } from "node:module";
registerHooks({
  resolve: (name, context, next) => next(name === "typescript" ? "typescript-5" : name, context),
});
`;
