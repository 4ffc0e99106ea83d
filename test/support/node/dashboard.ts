/**
 * The dashboard in Chromium: a fresh page for each test, which must write nothing to its console. A page whose policy is
 * broken, or that throws, says so there.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { CHROMIUM } from "../chromium.ts";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const SCREENS = [
  ["light", 1280],
  ["dark", 1280],
  ["light", 360],
  ["dark", 360],
] as const;

export interface Visitor {
  /** The page of this test. */
  readonly page: Page;
  /** Another page, in place of this one. */
  reopen: (options: BrowserContextOptions) => Promise<Page>;
  /** A complaint of the browser itself that the test provokes, such as about each 404. */
  expectComplaint: (part: string) => void;
  /** On all four screens: opens the URL, waits until `ready`, and holds the page against all rules of axe, or these. */
  checkAccess: (url: string, ready: (page: Page) => Promise<unknown>, rules?: string[]) => Promise<void>;
}

/** Call it once in a `describe`. */
export function visitor(): Visitor {
  let browser: Browser;
  let page: Page | undefined;
  let complaints: string[] = [];
  let expected: string[] = [];
  const reopen = async (options: BrowserContextOptions) => {
    await page?.context().close();
    const context = await browser.newContext(options);
    const opened = await context.newPage();
    opened.on("console", (message) => complaints.push(message.text()));
    opened.on("pageerror", (error) => complaints.push(error.message));
    page = opened;
    return opened;
  };
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: String(CHROMIUM), args: FLAGS });
  });
  afterAll(async () => browser?.close());
  beforeEach(async () => {
    [complaints, expected] = [[], []];
    await reopen({});
  });
  afterEach(async () => {
    await page?.context().close();
    page = undefined;
    expect(complaints.filter((text) => !expected.some((part) => text.includes(part)))).toEqual([]);
  });
  return {
    get page() {
      if (!page) throw new Error("There is a page in tests only.");
      return page;
    },
    reopen,
    expectComplaint: (part) => void expected.push(part),
    async checkAccess(url, ready, rules) {
      for (const [colorScheme, width] of SCREENS) {
        // The script of axe is none of the page's.
        const opened = await reopen({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
        await opened.goto(url);
        await ready(opened);
        expect([colorScheme, width, await violationsOn(opened, rules)]).toEqual([colorScheme, width, []]);
        expect(await opened.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(
          width,
        );
      }
    },
  };
}

interface Violation {
  id: string;
  nodes: { html: string }[];
}

interface Axe {
  run: (options: object) => Promise<{ violations: Violation[] }>;
}

async function violationsOn(page: Page, rules?: string[]): Promise<string[]> {
  await page.evaluate(readFileSync(AXE, "utf8"));
  return page.evaluate(
    async (options) => {
      const { axe } = globalThis as unknown as { axe: Axe };
      return (await axe.run(options)).violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
      );
    },
    rules ? { runOnly: rules } : {},
  );
}
