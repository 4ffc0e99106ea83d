/**
 * `npm run screenshots`: takes the pictures of src/dashboard/pictures, which the pages show. It starts Sluice with the demo
 * upstream and the sample files, has clients do something for a while, and visits the dashboard with the Chromium of this
 * machine: light, 1280 px wide.
 */
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { z } from "zod";
import { CHROMIUM } from "../test/support/chromium.ts";
import { EXAMPLES } from "./demo/examples.ts";
import { startDemo } from "./demo/start.ts";

const PICTURES = join(import.meta.dirname, "../src/dashboard/pictures");
const WIDTH = 1280;
const MAX_HEIGHT = 1000;
const MAX_BYTES = 150_000;
/** How long clients call before the pictures of the upstreams are taken, so that there is something in the charts. */
const TRAFFIC_MS = 45_000;
const CALLERS = 9;

const createdSchema = z.object({ id: z.string() });

async function main(): Promise<void> {
  if (CHROMIUM === undefined) throw new Error("Chromium is not installed.");
  await mkdir(PICTURES, { recursive: true });
  await using sluice = await startDemo(() => {});
  const { url } = sluice;
  const ids = await startTasks(url);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    await takeUpstreams(browser, url);
    await takeOthers(browser, url, ids);
  } finally {
    await browser.close();
  }
}

async function post(url: string, body: object): Promise<string> {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url}: ${await response.text()}`);
  return createdSchema.parse(await response.json()).id;
}

/** Some of everything: what succeeds, fails, waits, and is tried again. Returns the tasks that have pictures of their own. */
async function startTasks(url: string): Promise<{ scrape: string }> {
  for (const type of ["hash_file", "compress_file", "read_pdf", "resize_image", "analyze_file", "task_a"])
    await post(`${url}/tasks`, { type, input: EXAMPLES[type] });
  await post(`${url}/tasks`, { type: "hash_file", input: { fileId: "no-such-file" } });
  await post(`${url}/tasks`, { type: "task_b", delay: 3_600 });
  await post(`${url}/schedules`, {
    cron: "30 2 * * MON-FRI",
    time_zone: "Europe/Berlin",
    type: "daily_report",
  });
  await post(`${url}/schedules`, { cron: "*/15 * * * *", type: "task_a", overlap: "queue" });
  return { scrape: await post(`${url}/tasks`, { type: "scrape_pages", input: EXAMPLES.scrape_pages }) };
}

/** With clients that call all the time, and tasks that wait behind them. */
async function takeUpstreams(browser: Browser, url: string): Promise<void> {
  const page = await openPage(browser);
  await page.goto(`${url}/#/upstreams/demo`);
  const ending = AbortSignal.timeout(TRAFFIC_MS);
  const callers = Array.from({ length: CALLERS }, async (_, caller) => {
    for (let i = 1; !ending.aborted; i++) await (await fetch(`${url}/fetch/demo/todos/${caller}${i}`)).text();
  });
  await page.getByLabel("GET /fetch/demo/").fill("todos/1");
  // Near the end, so that the charts have something to show.
  await page.waitForTimeout(TRAFFIC_MS - 4_000);
  await page.getByRole("button", { name: "Call" }).click();
  await page.locator(".time-bar").waitFor();
  await page.getByText(/[1-9]\d* of local/).waitFor();
  await take(page, "upstream");
  await Promise.all(callers);
  await page.context().close();
}

async function takeOthers(browser: Browser, url: string, { scrape }: { scrape: string }): Promise<void> {
  const views: [name: string, path: string, ready: (page: Page) => Promise<unknown>][] = [
    ["start", "/", runExamples],
    ["tasks", "/#/tasks", async (page) => page.getByRole("link", { name: "scrape_pages" }).waitFor()],
    ["task", `/#/tasks/${scrape}`, async (page) => page.getByRole("region", { name: "History" }).waitFor()],
    ["schedules", "/#/tasks/schedules", async (page) => page.getByText("30 2 * * MON-FRI").waitFor()],
    ["file", "/#/files/walks.csv", async (page) => page.getByRole("cell").first().waitFor()],
    ["docs", "/docs", async (page) => page.getByText("List tasks, newest first").waitFor()],
  ];
  for (const [name, path, ready] of views) {
    const page = await openPage(browser);
    await page.goto(url + path);
    await ready(page);
    await take(page, name);
    await page.context().close();
  }
}

async function runExamples(page: Page): Promise<void> {
  for (const button of await page.getByRole("button", { name: "Run" }).all()) await button.click();
  await page.getByText("world!", { exact: false }).nth(1).waitFor();
  await page.getByRole("link", { name: "See the upstreams" }).waitFor();
}

async function openPage(browser: Browser): Promise<Page> {
  const viewport = { width: WIDTH, height: 700 };
  const context = await browser.newContext({ colorScheme: "light", viewport, reducedMotion: "reduce" });
  return context.newPage();
}

/** As much of the page as there is, from its top, up to a height. */
async function take(page: Page, name: string): Promise<void> {
  const path = join(PICTURES, `${name}.png`);
  const { height } = await page.evaluate<{ height: number }>(
    "({ height: document.documentElement.scrollHeight })",
  );
  const clip = { x: 0, y: 0, width: WIDTH, height: Math.min(height, MAX_HEIGHT) };
  await page.screenshot({ path, clip, fullPage: true });
  const { size } = await stat(path);
  console.log(`${path}: ${size} bytes`);
  if (size > MAX_BYTES) throw new Error(`${name}.png has more than ${MAX_BYTES} bytes.`);
}

await main();
