/**
 * A website of any size that counts: each page comes after a delay. It reports from when to when it was called for pages,
 * and how many it saw at once.
 *
 *     /            links to /page/1 … /page/{count}
 *     /page/{n}    a page with an article of about two kilobytes
 *     /robots.txt  is not there
 */
import { createServer } from "node:http";
import { z } from "zod";
import { startProcess } from "../support/process.ts";

const seenSchema = z.object({
  pages: z.number(),
  /** From the first call for a page to the end of the last. */
  ms: z.number(),
  maxInFlight: z.number(),
});

type Seen = z.output<typeof seenSchema>;

export interface Site extends AsyncDisposable {
  /** Its origin. */
  url: string;
  /** What it has seen since the last time that it was asked. */
  read(): Promise<Seen>;
}

/** Starts a site with `count` pages, each of which takes `delayMs`. */
export async function startSite(count: number, delayMs: number): Promise<Site> {
  const listening = Promise.withResolvers<string>();
  const child = await startProcess({
    command: process.execPath,
    args: [import.meta.filename, String(count), String(delayMs)],
    onLine: listening.resolve,
  });
  const url = await Promise.race([listening.promise, child.failed]);
  return {
    url,
    read: async () => seenSchema.parse(await (await fetch(`${url}/~read`)).json()),
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

const PARAGRAPH =
  "<p>Set out from the bench by the mill, with good boots, a map, and something to drink; allow an hour for every four " +
  'kilometres, and <a href="/">turn back</a> the way you came, or take the bus, which goes twice a day.</p>';

const page = (n: number) =>
  `<!doctype html><html lang="en"><head><title>Walk ${n}</title></head><body><nav><a href="/">Home</a></nav>` +
  `<article><h1>Walk ${n}</h1>${PARAGRAPH.repeat(8)}</article></body></html>`;

function serve(count: number, delayMs: number): void {
  const links = Array.from({ length: count }, (_, i) => `<a href="/page/${i + 1}">${i + 1}</a>`).join(" ");
  let seen = { pages: 0, beganMs: 0, endedMs: 0, maxInFlight: 0 };
  let inFlight = 0;
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    if (path === "/~read") {
      const { pages, beganMs, endedMs, maxInFlight } = seen;
      response.end(JSON.stringify({ pages, ms: endedMs - beganMs, maxInFlight }));
      seen = { pages: 0, beganMs: 0, endedMs: 0, maxInFlight: 0 };
      return;
    }
    const number = Number(/^\/page\/(\d+)$/.exec(path)?.[1]);
    if (path !== "/" && Number.isNaN(number)) {
      response.writeHead(404).end();
      return;
    }
    if (path !== "/") {
      seen.beganMs ||= performance.now();
      seen.maxInFlight = Math.max(seen.maxInFlight, ++inFlight);
    }
    setTimeout(() => {
      response.setHeader("Content-Type", "text/html; charset=utf-8");
      response.end(path === "/" ? links : page(number));
      if (path === "/") return;
      inFlight--;
      seen.pages++;
      seen.endedMs = performance.now();
    }, delayMs);
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (typeof address === "object") console.log(`http://127.0.0.1:${address?.port}`);
  });
}

if (import.meta.main) serve(Number(process.argv[2]), Number(process.argv[3]));
