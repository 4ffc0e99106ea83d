/** Pages in a real browser, under `npm run dev`: ours may call, and those of other sites may not, whatever they set. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Chromium, hasChromium } from "../../support/chromium.ts";
import { type DevServer, startDev, temporaryFolder } from "../../support/dev-server.ts";

/** What a browser's `fetch` takes, as JSON. */
interface Init {
  method?: string;
  mode?: string;
  referrerPolicy?: string;
  body?: string;
  headers?: Record<string, string>;
}

/** The status of each request that a script of the page at `url` makes, or why there is none. */
async function fetchFrom(browser: Chromium, url: string, ...requests: [target: string, init?: Init][]) {
  const calls = requests.map(
    (request) =>
      `fetch(...${JSON.stringify(request)}).then((response) => response.status || response.type, (error) => String(error))`,
  );
  const begin = `globalThis.asked ??= Promise.all([${calls.join(", ")}]).then((all) => { globalThis.seen = all; })`;
  const { value } = await browser.visit(
    url,
    `document.readyState !== "complete" || !location.protocol.startsWith("http") ? undefined : (${begin}, globalThis.seen)`,
  );
  return value;
}

describe.skipIf(!hasChromium)("under npm run dev,", () => {
  const storage = temporaryFolder();
  let server: DevServer | undefined;
  let browser: Chromium;
  let site: Server;
  const own = (path: string) => `${server?.url}${path}`;
  const port = () => new URL(own("/")).port;
  const rebound = (path: string) => `http://rebound.example:${port()}${path}`;
  const taskCount = async () => {
    const { tasks } = (await (await fetch(own("/tasks?limit=500"))).json()) as { tasks: unknown[] };
    return tasks.length;
  };

  beforeAll(async () => {
    site = createServer((_request, response) => {
      response.setHeader("Content-Type", "text/html").end("<!doctype html><title>Another site</title>");
    }).listen(0, "127.0.0.1");
    await once(site, "listening");
    server = await startDev(storage.path);
    browser = await Chromium.start();
  });
  afterAll(async () => {
    await browser?.stop();
    await server?.kill();
    site.close();
    storage.remove();
  });

  const submission = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type: "task_a", delay: 3600 }),
  };

  test.each(["/docs", "/"])("our own page %s can read and act", async (path) => {
    const statuses = await fetchFrom(browser, own(path), ["/task-types"], ["/tasks", submission]);
    expect(statuses).toEqual([200, 202]);
  });

  test.each<[string, string, Init]>([
    ["as it is", "/files", {}],
    ["with a forged URL", "/files", { headers: { "MF-Original-URL": "/files" } }],
    [
      "with a forged URL, and the headers of Node",
      "/files",
      {
        headers: {
          "MF-Original-URL": "/files",
          "MF-Sec-Fetch-Mode": "cors",
          "X-Mf-Sec-Fetch-Mode": "cors",
          "Accept-Language": "*",
          "User-Agent": "node",
        },
        referrerPolicy: "no-referrer",
      },
    ],
    ["with a forged URL, to act by GET", "/run-tasks", { headers: { "MF-Original-URL": "/run-tasks" } }],
    [
      "with a forged URL, to act by POST",
      "/run-tasks",
      { method: "POST", headers: { "MF-Original-URL": "/run-tasks" } },
    ],
  ])("a page whose name resolves to this machine can neither read nor act, %s", async (_name, path, init) => {
    const before = await taskCount();
    const forged = init.headers && { ...init.headers, "MF-Original-URL": own(path) };
    const request = { ...init, ...(forged && { headers: forged }) };
    const statuses = await fetchFrom(browser, rebound("/healthz"), [path, request]);
    expect([[401], [403]]).toContainEqual(statuses);
    expect(await taskCount()).toBe(before);
  });

  test.each<Init>([
    { mode: "no-cors" },
    { mode: "no-cors", method: "POST", body: "a=b", headers: { "Content-Type": "text/plain" } },
  ])("a page of another site can have no effect by %j", async (init) => {
    const before = await taskCount();
    const { port: sitePort } = site.address() as AddressInfo;
    for (const host of ["127.0.0.1", "localhost"]) {
      // The browser sends it, and shows the page nothing of the response.
      const seen = await fetchFrom(browser, `http://${host}:${sitePort}/`, [own("/run-tasks"), init]);
      expect(seen).toEqual([expect.stringMatching(/opaque|TypeError/)]);
    }
    expect(await taskCount()).toBe(before);
  });
});
