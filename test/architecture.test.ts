/** The shape of the house (see "The house" in the README): what may import what, and what must be bound. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { unstable_readConfig } from "wrangler";

const root = dirname(import.meta.dirname);
const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((path) => /\.tsx?$/.test(path) && !path.endsWith(".d.ts"))
  .map((path) => ({ path, text: readFileSync(join(root, "src", path), "utf8") }));

/** For each folder of src, the folders that it may import; a file directly in src counts as a folder. */
const PILLARS = ["tasks", "files", "outbound"];
const MAY_IMPORT: Record<string, string[]> = {
  "index.ts": ["hello.ts", "dashboard", "docs", "jobs", ...PILLARS, "kernel"],
  "hello.ts": ["kernel"],
  dashboard: ["jobs", ...PILLARS, "kernel"],
  docs: ["jobs", ...PILLARS, "kernel"],
  jobs: [...PILLARS, "kernel"],
  tasks: ["kernel"],
  files: ["kernel"],
  outbound: ["kernel"],
  kernel: [],
};

const folderOf = (path: string) => path.split("/")[0] ?? "";

const imports = sources.flatMap(({ path, text }) =>
  [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, target]) => ({
    from: path,
    to: normalize(join(dirname(path), String(target))),
  })),
);

test("the rule sees the imports there are", () => {
  expect(imports.length).toBeGreaterThan(40);
  expect(imports).toContainEqual({ from: "jobs/run-tasks.ts", to: "tasks/index.ts" });
});

test("imports point down, and no pillar imports another", () => {
  const wrong = imports.filter(({ from, to }) => {
    if (to.startsWith("..")) return to !== "../package.json";
    const [above, below] = [folderOf(from), folderOf(to)];
    return above !== below && !MAY_IMPORT[above]?.includes(below);
  });
  expect(wrong).toEqual([]);
});

test("a pillar is reached through its index.ts", () => {
  const wrong = imports.filter(
    ({ from, to }) =>
      PILLARS.includes(folderOf(to)) && folderOf(from) !== folderOf(to) && !to.endsWith("/index.ts"),
  );
  expect(wrong).toEqual([]);
});

test("every Durable Object class is exported, bound in wrangler.toml, and in a migration", () => {
  const declared = sources.flatMap(({ text }) =>
    [...text.matchAll(/export class (\w+) extends DurableObject\b/g)].map(([, name]) => String(name)),
  );
  const config = unstable_readConfig({ config: join(root, "wrangler.toml") });
  const bound = config.durable_objects.bindings.map((binding: { class_name: string }) => binding.class_name);
  const migrated = config.migrations.flatMap(
    (migration: { new_sqlite_classes?: string[] }) => migration.new_sqlite_classes ?? [],
  );
  const index = sources.find(({ path }) => path === "index.ts")?.text ?? "";
  const exported = declared.filter((name) =>
    new RegExp(`export \\{[^}]*\\b${name}\\b[^}]*\\} from`).test(index),
  );
  expect(declared.length).toBeGreaterThan(0);
  for (const names of [bound, migrated, exported]) expect(names.toSorted()).toEqual(declared.toSorted());
});

/** `ledger-ends.test.ts` holds a part of what there is to test of `ledger.ts`. */
test("tests mirror the source: each test file stands where the file does that it tests, or a part of it", () => {
  const tests = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" }).filter((path) =>
    path.endsWith(".test.ts"),
  );
  const known = new Set(sources.map(({ path }) => path));
  const elsewhere = (path: string) => path.startsWith("e2e/") || path === "architecture.test.ts";
  const wrong = tests.filter(
    (path) =>
      !elsewhere(path) &&
      !known.has(path.replace(".test.ts", ".ts")) &&
      !known.has(path.replace(/-\w+\.test\.ts$/, ".ts")),
  );
  expect(wrong).toEqual([]);
});
