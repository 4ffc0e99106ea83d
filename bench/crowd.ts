/** The page of an upstream that a thousand calls wait for: how soon it shows, and reacts; and how much travels. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser } from "playwright-core";

const CROWD = 1_000;
const CONCURRENCY = 2;
/** Between two events of a semaphore. */
const EVENT_MS = 1_000;

/** An upstream that responds to nobody until it is told to. */
export async function startSilentUpstream(): Promise<
  AsyncDisposable & { settings: Record<string, string | number> }
> {
  const server = createServer(() => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const times = { timeout_ms: 300_000, max_wait_ms: 300_000 };
  return {
    settings: { origin, concurrency: CONCURRENCY, max_waiters: CROWD, ...times },
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** `name`: of that upstream. */
export async function measureCrowd(url: string, name: string, browser: Browser) {
  const gone = new AbortController();
  for (let n = 0; n < CROWD + CONCURRENCY; n++)
    fetch(`${url}/fetch/${name}/${n}`, { signal: gone.signal }).catch(() => undefined);
  await whenWaiting(url, name);
  const page = await (await browser.newContext()).newPage();
  const openedAt = performance.now();
  await page.goto(`${url}/#/upstreams/${name}`);
  await page.getByText(`${CROWD} waiting`).waitFor();
  const drawnMs = performance.now() - openedAt;
  await page.evaluate(`{
    globalThis.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
    }).observe({ type: "longtask" });
  }`);
  const pressedAt = performance.now();
  await page.getByRole("button", { name: `Raise the limit of ${name}` }).click();
  await page.getByText(`${CROWD - 1} waiting`).waitFor();
  const reactedMs = performance.now() - pressedAt;
  await page.waitForTimeout(10 * EVENT_MS);
  const longestMs = await page.evaluate<number>("longest");
  const elements = await page.evaluate<number>("document.querySelectorAll('*').length");
  await page.context().close();
  const bytes = await eventBytes(url);
  gone.abort();
  const what = (text: string) => `${CROWD.toLocaleString("en")} waiting: ${text}`;
  return [
    { what: what("from the address to the count, ms"), value: drawnMs },
    { what: what("from a press of a button to its effect, ms"), value: reactedMs },
    { what: what("longest task of the page in ten seconds, ms"), value: longestMs },
    { what: what("elements of the page"), value: elements },
    { what: what("bytes of an event"), value: bytes },
  ];
}

async function whenWaiting(url: string, name: string): Promise<void> {
  for (;;) {
    const response = await fetch(`${url}/upstreams/${name}`);
    const { waiting } = (await response.json()) as { waiting: { count: number } };
    if (waiting.count >= CROWD) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Of the longest event of a stream's beginning. */
async function eventBytes(url: string): Promise<number> {
  const gone = new AbortController();
  const { body } = await fetch(`${url}/events?kinds=upstreams`, { signal: gone.signal });
  const decoder = new TextDecoder();
  let text = "";
  const timer = setTimeout(() => gone.abort(), 3 * EVENT_MS);
  try {
    for await (const chunk of body ?? []) text += decoder.decode(chunk, { stream: true });
  } catch {
    // It is over.
  }
  clearTimeout(timer);
  return Math.max(...text.split("\n\n").map(({ length }) => length));
}
