/** The dashboard: how soon it shows the first list, and a change; and how much travels. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { type Browser, chromium } from "playwright-core";
import { CHROMIUM } from "../test/support/chromium.ts";
import { measureCrowd, startSilentUpstream } from "./crowd.ts";
import { startMiniflare } from "./support/miniflare.ts";
import { DIST } from "./support/workerd.ts";
import { renderTable } from "./table.ts";
import { renderTargets } from "./targets.ts";

const KEPT_TASKS = 10_000;
const VISITS = 7;
const TASKS_PER_S = 200;
const SECONDS = 10;
const BATCH = 10;
/** By then, what was submitted last has long been shown. */
const SETTLE_MS = 3_000;
const DAY_S = 86_400;

export async function benchDashboard(): Promise<string> {
  await using silent = await startSilentUpstream();
  const variables = {
    ACCESS: "local",
    DATA_UPSTREAM: "crowded",
    UPSTREAMS: { crowded: silent.settings },
  };
  await using server = await startMiniflare(variables, { onLog: () => {} });
  const { url } = server;
  for (let kept = 0; kept < KEPT_TASKS; kept += 100) await submit(url, 100, DAY_S);
  const lists = await repeat(async () => timed(async () => (await fetch(`${url}/tasks?limit=50`)).text()));
  const stream = await measureStream(url);
  const figures = [
    {
      what: `GET /tasks with ${KEPT_TASKS.toLocaleString("en")} tasks: p50, ms`,
      value: quantile(lists, 0.5),
    },
    {
      what: `event stream at ${TASKS_PER_S} tasks/s: latency p50, ms`,
      value: quantile(stream.latencies, 0.5),
    },
    {
      what: `event stream at ${TASKS_PER_S} tasks/s: latency p99, ms`,
      value: quantile(stream.latencies, 0.99),
    },
    { what: "event stream: bytes a task", value: Math.round(stream.bytes / stream.latencies.length) },
    ...(CHROMIUM === undefined ? [] : await measurePage(url, CHROMIUM)),
  ];
  const note = CHROMIUM === undefined ? ["The page was not measured: Chromium is not installed."] : [];
  return [renderTable([{ name: "dashboard", figures }]), "", renderTargets(sizeTargets()), ...note].join(
    "\n",
  );
}

async function measurePage(url: string, executablePath: string) {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const visits = await repeat(async () => visit(browser, url));
    const latencies = await measureRows(browser, url);
    return [
      { what: "Chromium: from the address to the first list, p50, ms", value: quantile(visits, 0.5) },
      {
        what: `Chromium: row of a new task at ${TASKS_PER_S} tasks/s: p50, ms`,
        value: quantile(latencies, 0.5),
      },
      {
        what: `Chromium: row of a new task at ${TASKS_PER_S} tasks/s: p99, ms`,
        value: quantile(latencies, 0.99),
      },
      ...(await measureCrowd(url, "crowded", browser)),
    ];
  } finally {
    await browser.close();
  }
}

/** With nothing in the browser's cache. */
async function visit(browser: Browser, url: string): Promise<number> {
  const page = await (await browser.newContext()).newPage();
  const ms = await timed(async () => {
    await page.goto(`${url}/#/tasks`);
    await page.locator("tbody tr").first().waitFor();
  });
  await page.context().close();
  return ms;
}

/** From the submission of a task to its row in the document. Rows are at most 50, so a task may be pushed out unseen. */
async function measureRows(browser: Browser, url: string): Promise<number[]> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${url}/#/tasks`);
  await page.getByText("Live").waitFor();
  await page.evaluate(`{
    globalThis.seen = {};
    const look = () => {
      for (const { href } of document.querySelectorAll("tbody a")) seen[href.split("/").at(-1)] ??= Date.now();
    };
    new MutationObserver(look).observe(document.querySelector("tbody"), { childList: true, subtree: true });
  }`);
  const sent = await submitSteadily(url);
  await sleep(SETTLE_MS);
  const seen = new Map(Object.entries(await page.evaluate<Record<string, number>>("seen")));
  await page.context().close();
  return latenciesOf(sent, seen);
}

async function measureStream(url: string): Promise<{ latencies: number[]; bytes: number }> {
  const gone = new AbortController();
  const { body } = await fetch(`${url}/events`, { signal: gone.signal });
  const seen = new Map<string, number>();
  let bytes = 0;
  const read = async () => {
    const decoder = new TextDecoder();
    for await (const chunk of body ?? []) {
      bytes += chunk.length;
      const text = decoder.decode(chunk, { stream: true });
      for (const [, id = ""] of text.matchAll(/"id":"(s\d-[\w-]{36})"/g))
        if (!seen.has(id)) seen.set(id, Date.now());
    }
  };
  const reading = read().catch(() => undefined);
  const sent = await submitSteadily(url);
  await sleep(SETTLE_MS);
  gone.abort();
  await reading;
  return { latencies: latenciesOf(sent, seen), bytes };
}

/** Submits tasks that do not run; resolves to when each was sent. */
async function submitSteadily(url: string): Promise<Map<string, number>> {
  const sent = new Map<string, number>();
  const requests: Promise<void>[] = [];
  for (let n = 0; n < (TASKS_PER_S * SECONDS) / BATCH; n++) {
    const atMs = Date.now();
    requests.push(submit(url, BATCH, DAY_S).then((ids) => ids.forEach((id) => sent.set(id, atMs))));
    await sleep((1_000 * BATCH) / TASKS_PER_S);
  }
  await Promise.all(requests);
  return sent;
}

async function submit(url: string, count: number, delay: number): Promise<string[]> {
  const response = await fetch(`${url}/tasks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(Array.from({ length: count }, () => ({ type: "task_a", input: {}, delay }))),
  });
  if (!response.ok) throw new Error(`POST /tasks: ${response.status}`);
  const text = await response.text();
  return [...text.matchAll(/"id":"([\w-]+)"/g)].map(([, id = ""]) => id);
}

function latenciesOf(sent: ReadonlyMap<string, number>, seen: ReadonlyMap<string, number>): number[] {
  const latencies = [...sent].flatMap(([id, atMs]) => (seen.has(id) ? [Number(seen.get(id)) - atMs] : []));
  if (latencies.length === 0) throw new Error("Nothing that was submitted was seen.");
  return latencies;
}

/** What a first visit loads, and all that the page may load later but the preview of PDFs, compressed. */
function sizeTargets() {
  const folder = join(DIST, "assets/app");
  const names = readdirSync(folder).filter((name) => !name.startsWith("pdfjs-"));
  const sizes = names.map((name) => ({
    name,
    bytes: gzipSync(readFileSync(join(folder, name))).length,
  }));
  const kib = (of: typeof sizes) => of.reduce((sum, { bytes }) => sum + bytes, 0) / 1024;
  const first = sizes.filter(({ name }) => /^(main\.js|style\.css)$/.test(name));
  return [
    { what: "first load, KiB compressed", before: "", value: kib(first), digits: 1, atMost: 40 },
    { what: "with everything lazy, KiB compressed", before: "", value: kib(sizes), digits: 1, atMost: 90 },
  ];
}

async function repeat(measure: () => Promise<number>): Promise<number[]> {
  const values: number[] = [];
  for (let n = 0; n < VISITS; n++) values.push(await measure());
  return values;
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const beganAt = performance.now();
  await action();
  return performance.now() - beganAt;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
