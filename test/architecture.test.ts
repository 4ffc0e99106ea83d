/** The shape of the house (src/README.md): what may import what, and what must be bound. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { unstable_readConfig } from "wrangler";
import { type Arrow, arrowsOf, circlesIn, FLOORS, pastTheFrontDoor, upward } from "./support/house.ts";

const root = dirname(import.meta.dirname);

function filesIn(folder: string): { path: string; text: string }[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.tsx?$/.test(path) && !path.endsWith(".d.ts"))
    .map((path) => ({ path, text: readFileSync(join(root, folder, path), "utf8") }));
}

const sources = filesIn("src");
const arrows = arrowsOf(sources);

describe("imports", () => {
  test("are seen, also those of types, of several lines, and of whole modules", () => {
    expect(arrows.length).toBeGreaterThan(400);
    expect(arrows).toContainEqual({ from: "jobs/run-tasks.ts", to: "tasks/index.ts" });
    const text = `import type { A } from "./a.ts";\nimport {\n  b,\n} from "../b.ts";\nexport * from "./c.ts";\nimport("./d.ts");`;
    const seen = arrowsOf([{ path: "x/y.ts", text }]).map(({ to }) => to);
    expect(seen).toEqual(["x/a.ts", "b.ts", "x/c.ts", "x/d.ts"]);
  });

  test("point down, from floor to floor and from room to room", () => {
    expect(upward(arrows)).toEqual([]);
  });

  test("form no circle, types included", () => {
    expect(circlesIn(arrows)).toEqual([]);
  });

  test("reach a pillar through its index.ts", () => {
    expect(pastTheFrontDoor(arrows)).toEqual([]);
  });

  test("stay inside src, save for the version in package.json", () => {
    const outside = arrows.filter(({ to }) => to.startsWith(".."));
    expect(outside).toEqual([{ from: "docs/document.ts", to: "../package.json" }]);
  });

  test("leave no room out of the order", () => {
    const placed = new Set(FLOORS.flat());
    const rooms = sources
      .map(({ path }) => path.split("/").slice(0, -1).join("/"))
      .filter((folder) => folder.includes("/"));
    expect(rooms.length).toBeGreaterThan(50);
    expect([...new Set(rooms)].filter((room) => !placed.has(room))).toEqual([]);
  });
});

describe("the rules find", () => {
  const finds = (arrow: Arrow) => upward([arrow]).length === 1;

  test.each([
    ["tasks/ledger/rules.ts", "tasks/run/submit.ts"],
    ["tasks/types/define.ts", "tasks/ledger/retry-delay.ts"],
    ["files/store/blob-writer.ts", "files/upload/form.ts"],
    ["outbound/upstreams.ts", "outbound/semaphore/rate.ts"],
    ["kernel/app.ts", "tasks/index.ts"],
    ["tasks/run/submit.ts", "files/index.ts"],
    ["jobs/callback.ts", "docs/index.ts"],
  ])("an arrow that runs up: %s → %s", (from, to) => {
    expect(finds({ from, to })).toBe(true);
    expect(finds({ from: to, to: from })).toBe(from.startsWith("tasks/run") && to.startsWith("files"));
  });

  test("a feature of your own beside the others", () => {
    for (const feature of ["greeting.ts", "greeting/routes.ts"]) {
      expect(finds({ from: feature, to: "tasks/index.ts" })).toBe(false);
      expect(finds({ from: "index.ts", to: feature })).toBe(false);
      expect(finds({ from: "tasks/index.ts", to: feature })).toBe(true);
      expect(finds({ from: feature, to: "hello.ts" })).toBe(true);
    }
  });

  test("rooms that never meet", () => {
    expect(finds({ from: "files/upload/upload.ts", to: "files/download/parse-range.ts" })).toBe(true);
    expect(finds({ from: "files/download/parse-range.ts", to: "files/resumable/tus.ts" })).toBe(true);
  });

  test("a circle, and who is on it", () => {
    const circle = ["a.ts", "b.ts", "c.ts"].map((from, i, all) => ({ from, to: all[(i + 1) % 3] ?? "" }));
    expect(circlesIn([...circle, { from: "d.ts", to: "a.ts" }])).toEqual([["a.ts", "b.ts", "c.ts"]]);
    expect(circlesIn(circle.slice(1))).toEqual([]);
  });

  test("a side door", () => {
    const arrow = { from: "jobs/callback.ts", to: "outbound/proxy/proxy.ts" };
    expect(pastTheFrontDoor([arrow])).toEqual([arrow]);
    expect(pastTheFrontDoor([{ ...arrow, to: "outbound/index.ts" }])).toEqual([]);
  });
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

test("objects are reached through kernel/objects.ts alone, which knows where they live and what may be repeated", () => {
  const stub =
    /\.getByName\(|\.(?:idFromString|newUniqueId|jurisdiction)\(|env\.[A-Z_]+\.get\(\s*(?:id|env\.)/;
  const others = sources.filter(({ path, text }) => path !== "kernel/objects.ts" && stub.test(text));
  expect(others.map(({ path }) => path)).toEqual([]);
  expect(stub.test(sources.find(({ path }) => path === "kernel/objects.ts")?.text ?? "")).toBe(true);
});

/** `ledger-ends.test.ts` holds a part of what there is to test of `ledger.ts`. */
test("tests mirror the source: each test file stands where the file does that it tests, or a part of it", () => {
  const tests = filesIn("test").filter(({ path }) => path.endsWith(".test.ts"));
  const known = new Set(sources.map(({ path }) => path));
  const isOfTheWhole = (path: string) => path.startsWith("e2e/") || !path.includes("/");
  const mirrors = (path: string) =>
    [/(\.slow)?\.test\.ts$/, /-\w+(\.slow)?\.test\.ts$/, /-\w+-\w+(\.slow)?\.test\.ts$/].some((end) =>
      known.has(normalize(path.replace(end, ".ts"))),
    );
  expect(tests.map(({ path }) => path).filter((path) => !isOfTheWhole(path) && !mirrors(path))).toEqual([]);
});
