/**
 * The pages: every link leads somewhere, and everything that a user can name is described exactly once.
 *
 * Described means:
 *
 *     a route                 `METHOD /path` in a heading, or in the first cell of a table's row. Several methods may share
 *                             a path (`GET`, `HEAD /files/{id}`); ANY stands for all of them; a query is ignored
 *     a variable or secret    its name, as code, in a heading or in the first cell of a row
 *     a problem type          its name in a heading
 *     an alert                the message of a log line of level warn or error, as the first cell of a row
 *     an npm script           `npm run name` (`npm test`, `npm start`), as code, in one of the same places
 *
 * Routes with a tag of your own, and variables that only your own code reads, need no description.
 * What stands in a sentence, in a code block or in another cell only mentions it.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { unstable_readConfig } from "wrangler";
import { RECIPES } from "./recipes/recipes.ts";
import {
  anchorsOf,
  codeBlocksUnder,
  codeSpansOf,
  firstCellsOf,
  headingsOf,
  linksOf,
  type Page,
  readPages,
} from "./support/markdown.ts";
import { sharedServer } from "./support/node/built-worker.ts";

const root = dirname(import.meta.dirname);
const read = (path: string) => readFileSync(join(root, path), "utf8");

const pages = readPages(root);

/** Every place that describes something, with the page that it is in. */
const places = pages.flatMap((page) => [
  ...headingsOf(page).map((text) => ({ page: page.path, text, isHeading: true })),
  ...firstCellsOf(page).map((text) => ({ page: page.path, text, isHeading: false })),
]);

/** The names that are described, each with the pages that do. */
function described(
  namesIn: (place: { text: string; isHeading: boolean }) => string[],
): Map<string, string[]> {
  const found = places.flatMap((place) => namesIn(place).map((name) => ({ name, page: place.page })));
  const byName = Map.groupBy(found, ({ name }) => name);
  return new Map([...byName].map(([name, those]) => [name, those.map(({ page }) => page)]));
}

/** What is described more or less often than once, in words. */
const faults = (names: string[], found: Map<string, string[]>) =>
  names.flatMap((name) => {
    const where = found.get(name) ?? [];
    return where.length === 1 ? [] : [`${name} is described ${where.length} times: ${where.join(", ")}`];
  });

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const METHOD = `(?:${METHODS.join("|")}|ANY)`;
const ROUTE = new RegExp(`(${METHOD}(?:(?:,| and)? ${METHOD})*) (/[^\\s?,]*)`, "g");

const routesIn = (text: string): string[] =>
  [...text.replaceAll("`", "").matchAll(ROUTE)].flatMap(([, methods = "", path]) =>
    (methods.match(new RegExp(METHOD, "g")) ?? []).map((method) => `${method} ${path}`),
  );

const codeIn = (pattern: RegExp) => (place: { text: string }) =>
  codeSpansOf(place.text).filter((code) => pattern.test(code));

describe("links", () => {
  test.each(pages.map((page) => [page.path, page] as const))("of %s lead somewhere", (path, page) => {
    const broken = linksOf(page).filter(
      (link) => !/^(https?|mailto):/.test(link) && !leadsSomewhere(path, link),
    );
    expect(broken).toEqual([]);
  });

  function leadsSomewhere(from: string, link: string): boolean {
    const [file = "", anchor] = decodeURI(link).split("#");
    const path = file === "" ? from : normalize(join(dirname(from), file));
    if (anchor === undefined) return existsSync(join(root, path));
    const page = pages.find((candidate) => candidate.path === path);
    return page !== undefined && anchorsOf(page).has(anchor);
  }
});

test("README.md has at most 150 lines", () => {
  expect(read("README.md").trimEnd().split("\n").length).toBeLessThanOrEqual(150);
});

interface Document {
  tags: { name: string }[];
  paths: Record<string, Record<string, { tags: string[] } | undefined>>;
}

describe("described exactly once:", () => {
  test("every route, and no route that does not exist", async () => {
    const response = await fetch(`${(await sharedServer()).url}/openapi.json`);
    const { paths, tags } = (await response.json()) as Document;
    const ours = new Set(tags.map(({ name }) => name));
    const operations = Object.entries(paths).flatMap(([path, item]) =>
      METHODS.flatMap((method) => {
        const operation = item[method.toLowerCase()];
        return operation ? [{ route: `${method} ${path}`, path, tags: operation.tags }] : [];
      }),
    );
    const found = described(({ text }) => routesIn(text));
    const any = [...found.keys()].filter((route) => route.startsWith("ANY "));
    const must = operations.filter(
      (one) => one.tags.some((tag) => ours.has(tag)) && !any.includes(`ANY ${one.path}`),
    );
    expect(must.length).toBeGreaterThan(30);
    expect(faults([...must.map(({ route }) => route), ...any], found)).toEqual([]);
    // HEAD is possible wherever GET is, and the document leaves it out.
    const exist = new Set(
      operations.flatMap(({ route, path }) => [route, route.replace("GET", "HEAD"), `ANY ${path}`]),
    );
    expect([...found.keys()].filter((route) => !exist.has(route))).toEqual([]);
  });

  test("every variable and secret, which also stand in wrangler.toml or .dev.vars.example", () => {
    const code = globSync("src/{kernel,tasks,files,outbound,jobs}/**/*.ts", { cwd: root }).map(read).join("");
    const names = [...code.matchAll(/(?:readVariable|optionalSchedule)\(\s*env,\s*"(\w+)"/g)].map(
      ([, name]) => String(name),
    );
    expect(names).toEqual(expect.arrayContaining(["ACCESS", "SLUICE_TOKENS", "LINK_KEYS", "UPSTREAMS"]));
    expect(faults([...new Set(names)], described(codeIn(/^[A-Z][A-Z_]+$/)))).toEqual([]);
    const { vars } = unstable_readConfig({ config: join(root, "wrangler.toml") });
    const secrets: string[] = read(".dev.vars.example").match(/(?<=^(?:# )?)[A-Z_]+(?==)/gm) ?? [];
    expect(names.filter((name) => !(name in vars) && !secrets.includes(name))).toEqual([]);
  });

  test("every problem type, under its own heading", () => {
    const kinds = [...read("src/kernel/problem.ts").matchAll(/^ {2}"?([a-z-]+)"?: \[\d{3}, "/gm)].map(
      ([, kind]) => String(kind),
    );
    expect(kinds).toEqual(expect.arrayContaining(["malformed", "loop-detected"]));
    const names = ({ text, isHeading }: { text: string; isHeading: boolean }) =>
      isHeading ? [...codeSpansOf(text), text] : [];
    expect(faults(kinds, described(names))).toEqual([]);
  });

  test("every alert: each log line of level warn or error", () => {
    const code = globSync("src/**/*.ts", { cwd: root }).map(read).join("");
    const alerts = [...code.matchAll(/\blog\(\s*"(?:warn|error)",\s*"([^"]+)"/g)].map(([, text]) =>
      String(text),
    );
    expect(alerts).toEqual(expect.arrayContaining(["unhandled error", "attempt failed", "heartbeat failed"]));
    expect(
      faults(
        [...new Set(alerts)],
        described(({ text }) => [text]),
      ),
    ).toEqual([]);
  });

  test("every npm script, and no script that does not exist", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const commands = Object.keys(scripts).map((name) =>
      ["test", "start"].includes(name) ? `npm ${name}` : `npm run ${name}`,
    );
    const found = described(codeIn(/^npm (test|start|run [\w:-]+)$/));
    expect(faults(commands, found)).toEqual([]);
    expect([...found.keys()].filter((command) => !commands.includes(command))).toEqual([]);
  });
});

test.each(RECIPES)("the recipe of $name has code under its heading", ({ page: path, heading }) => {
  const page = pages.find((candidate) => candidate.path === path);
  expect(page && codeBlocksUnder(page, heading).length).toBeGreaterThan(0);
});

describe("a page is read as GitHub reads it:", () => {
  const page: Page = {
    path: "a.md",
    text: [
      "# One `two`, three & [four](b.md#x)!",
      "| `HEAD` | about |",
      "|---|---|",
      "| `GET`, `HEAD /a/{id}?b=` \\| x | [c](d.md) `[e](f.md)` |",
      "## Same",
      "1. A list:",
      "   ```ts",
      "   # no heading, [no link](g.md)",
      "   ```",
      "## Same",
      "",
    ].join("\n"),
  };

  test("headings and their anchors", () => {
    expect([...anchorsOf(page)]).toEqual(["one-two-three--four", "same", "same-1"]);
  });

  test("links, outside of code", () => {
    expect(linksOf(page)).toEqual(["b.md#x", "d.md"]);
  });

  test("first cells, and the routes in them", () => {
    expect(firstCellsOf(page)).toEqual(["`GET`, `HEAD /a/{id}?b=` \\| x"]);
    expect(firstCellsOf(page).flatMap(routesIn)).toEqual(["GET /a/{id}", "HEAD /a/{id}"]);
    expect(routesIn("`ANY /b`, `POST /c {}` and GET /")).toEqual(["ANY /b", "POST /c", "GET /"]);
  });

  test("code blocks under a heading", () => {
    expect(codeBlocksUnder(page, "Same")).toEqual([
      { language: "ts", text: "# no heading, [no link](g.md)\n" },
    ]);
    expect(codeBlocksUnder(page, "One `two`, three & [four](b.md#x)!")).toHaveLength(1);
    expect(() => codeBlocksUnder(page, "no heading, [no link](g.md)")).toThrow("has no heading");
  });
});
