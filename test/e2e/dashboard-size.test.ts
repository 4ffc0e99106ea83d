/** How much a browser loads for the dashboard, compressed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { sharedServer } from "../support/node/built-worker.ts";

const APP = join(import.meta.dirname, "../../dist/assets/app");
const KIB = 1024;
/** What draws the pages of a PDF, once somebody asks for them. */
const PREVIEWS = /^pdfjs-/;

const sizeOf = (content: string | Buffer) => gzipSync(content).length;
const sizeOfAsset = (name: string) => sizeOf(readFileSync(join(APP, name)));

test("the first load of the dashboard takes at most 40 KiB, and everything but previews 90 KiB", async () => {
  // The server's build has made the assets anew.
  const page = await (await fetch((await sharedServer()).url)).text();
  const named = [...page.matchAll(/\/app\/([\w.-]+)/g)].map(([, name]) => String(name));
  expect(named).toEqual(["style.css", "main.js"]);
  const main = readFileSync(join(APP, "main.js"), "utf8");
  const imported = [...main.matchAll(/\bfrom"\.\/([\w.-]+)"|\bimport"\.\/([\w.-]+)"/g)].map(
    ([, from, bare]) => String(from ?? bare),
  );
  const first = [...new Set([...named, ...imported])];
  const sum = (names: string[]) => names.map(sizeOfAsset).reduce((a, b) => a + b, 0);
  expect(sum(first) + sizeOf(page)).toBeLessThanOrEqual(40 * KIB);
  const all = readdirSync(APP);
  expect(all.filter((name) => PREVIEWS.test(name))).toHaveLength(1);
  expect(sum(all.filter((name) => !PREVIEWS.test(name)))).toBeLessThanOrEqual(90 * KIB);
  expect(all.length).toBeGreaterThan(first.length + 1);
});

test("its style uses only colours that it names: one without a value is black in both themes", () => {
  const style = readFileSync(join(APP, "style.css"), "utf8");
  const used = new Set([...style.matchAll(/var\((--[\w-]+)\)/g)].map(([, name = ""]) => name));
  expect(used.size).toBeGreaterThan(5);
  expect([...used].filter((name) => !style.includes(`${name}:`))).toEqual([]);
});
