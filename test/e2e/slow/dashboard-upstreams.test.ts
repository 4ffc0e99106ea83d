/** The view of the upstreams, in front of an upstream that responds when the test says so. */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { startOnMiniflare } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

const CROWD = 1_000;

describe.skipIf(!hasChromium)("the upstreams on the dashboard", () => {
  const visit = visitor();
  /** Calls of /held, which have no response yet. */
  let held: ServerResponse[] = [];
  let upstream: Server;
  let url: string;

  beforeAll(async () => {
    upstream = createServer((request, response) => {
      if (request.url === "/held") hold(response);
      else if (request.url === "/busy") response.writeHead(429, { "Retry-After": "40" }).end("busy");
      else response.setHeader("Cache-Control", "max-age=60").end(`this is ${request.url}`);
    });
    await once(upstream.listen(0, "127.0.0.1"), "listening");
    const origin = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
    // A call that is held while a slow machine draws a screen must not time out: that would open the breaker.
    const settings = { origin, concurrency: 2, retries: 0, cache_seconds: 0, timeout_ms: 300_000 };
    const names = ["slow", "steered", "tried", "busy", "keyed"];
    const crowded = { ...settings, max_waiters: CROWD, max_wait_ms: 300_000 };
    ({ url } = await startOnMiniflare({
      UPSTREAMS: { ...Object.fromEntries(names.map((name) => [name, settings])), crowded },
    }));
  });
  afterAll(() => {
    upstream?.close();
    upstream?.closeAllConnections();
  });

  /** Until it is answered, or its caller has gone. */
  const hold = (response: ServerResponse) => {
    held.push(response);
    response.once("close", () => {
      const index = held.indexOf(response);
      if (index >= 0) held.splice(index, 1);
    });
  };
  const callHeld = (name: string, count: number) =>
    Array.from({ length: count }, async () => (await fetch(`${url}/fetch/${name}/held`)).text());
  const release = () => {
    for (const response of held.splice(0)) response.end("done");
  };

  test("show who holds and who waits, since when, and what the last minutes were like", async () => {
    const { page } = visit;
    const calls = callHeld("slow", 5);
    await page.goto(`${url}/#/upstreams`);
    const card = page.getByRole("region", { name: "slow", exact: true });
    await card.getByText("2 of 2 permits held, 3 waiting").waitFor();
    await card.getByText("All permits are held.").waitFor();
    await card.getByText(/3 of local \(interactive\), the first/).waitFor();
    await card.getByRole("img", { name: "2 of 2 permits are held" }).waitFor();
    await card.getByRole("link", { name: "slow" }).click();
    const rows = page.locator("tbody tr");
    expect(await rows.count()).toBe(5);
    expect(await rows.locator("time").first().getAttribute("datetime")).toMatch(/^\d{4}-.*Z$/);
    await page.getByRole("img", { name: /Longest wait now over five minutes: [\d.]*[1-9]/ }).waitFor();
    const done = Promise.all(calls);
    for (let i = 0; i < 5; i++) {
      await expect.poll(() => held.length).toBeGreaterThan(0);
      held.shift()?.end("done");
    }
    await done;
    await card.getByText("0 of 2 permits held, 0 waiting").waitFor();
    await page.getByRole("img", { name: /Calls over five minutes: .*, [\d.]*[1-9][\d.]* at most/ }).waitFor();
    await card.getByText(/^5 calls, 5 ok/).waitFor();
  });

  test("show for whom calls wait, and how many permits they take", async () => {
    const { page } = visit;
    const call = async (key: string, weight: number) =>
      (
        await fetch(`${url}/fetch/keyed/held`, {
          headers: { "Sluice-Limit-Key": key, "Sluice-Weight": String(weight) },
        })
      ).text();
    const calls = [call("ada", 2)];
    await expect.poll(() => held.length).toBe(1);
    calls.push(call("bo", 1), call("bo", 1), call("ada", 1));
    await page.goto(`${url}/#/upstreams/keyed`);
    await page.getByText("2 of 2 permits held, 3 waiting").waitFor();
    await page.getByRole("row", { name: /^bo 2 0$/ }).waitFor();
    await page.getByRole("row", { name: /^ada 1 2$/ }).waitFor();
    for (let ended = 0; ended < 4; ended++) {
      await expect.poll(() => held.length).toBeGreaterThan(0);
      held.shift()?.end("done");
    }
    await Promise.all(calls);
    await page.getByText("0 of 2 permits held, 0 waiting").waitFor();
  });

  test("show a change at once, before the list is read again", async () => {
    const { page } = visit;
    const calls = callHeld("steered", 3);
    await page.goto(`${url}/#/upstreams/steered`);
    await page.getByText("2 of 2 permits held, 1 waiting").waitFor();
    // No list comes any more: what is seen is what the change has responded with.
    await page.route("**/upstreams", async (route) => route.abort());
    await page.route("**/events*", async (route) => route.abort());
    visit.expectComplaint("net::ERR_FAILED");
    await page.getByRole("button", { name: "Raise the limit of steered" }).click();
    await page.getByText("3 of 3 permits held, 0 waiting").waitFor();
    await page.getByRole("button", { name: "Lower the limit of steered" }).click();
    await page.getByText("limit 2", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused: nobody gets a permit.").waitFor();
    await page.getByText("paused", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByRole("button", { name: "Pause" }).waitFor();
    await expect.poll(() => held.length).toBe(3);
    release();
    await Promise.all(calls);
  });

  test("count down what is in the way", async () => {
    const { page } = visit;
    expect((await fetch(`${url}/fetch/busy/busy`)).status).toBe(429);
    await page.goto(`${url}/#/upstreams/busy`);
    await page.getByText(/, for (40|3\d) s\./).waitFor();
  });

  test("can be tried: one call, and where its time went", async () => {
    const { page } = visit;
    await page.goto(`${url}/#/upstreams/tried`);
    await page.getByLabel("GET /fetch/tried/").fill("a/b?c=d");
    await page.getByRole("button", { name: "Call" }).click();
    await page.getByText("200 OK").waitFor();
    await page.getByText("this is /a/b?c=d").waitFor();
    for (const part of [/waiting for a permit \d+ ms/, /upstream \d+ ms/, /rest \d+ ms/])
      await page.getByRole("listitem").filter({ hasText: part }).waitFor();
    expect(await page.locator(".time-bar rect").count()).toBe(3);
    await page.getByText(/^sluice; fwd/).waitFor();
    const kept = page.getByText("This browser had kept it");
    expect(await kept.count()).toBe(0);
    await page.getByRole("button", { name: "Call" }).click();
    await kept.waitFor();
    await page.getByLabel("GET /fetch/tried/").fill("../../tasks");
    await page.getByRole("button", { name: "Call" }).click();
    await page.getByText("The path must stay below /fetch/tried/.").waitFor();
  });

  test("break no rule of accessibility", async () => {
    const seen = new AbortController();
    const callers = Array.from({ length: 4 }, async () => {
      while (!seen.signal.aborted) await (await fetch(`${url}/fetch/slow/held`)).text();
    });
    await visit.checkAccess(`${url}/#/upstreams`, async (page) => {
      // No call is held for longer than a screen takes: it would time out.
      release();
      await page.getByText("2 waiting").waitFor();
    });
    await visit.checkAccess(`${url}/#/upstreams/slow`, async (page) => {
      release();
      await page.getByText("2 waiting").waitFor();
      await page.getByRole("button", { name: "Call" }).click();
      // The call waits behind the others.
      const timer = setInterval(release, 100);
      await page
        .locator(".time-bar")
        .waitFor()
        .finally(() => clearInterval(timer));
    });
    seen.abort();
    const timer = setInterval(release, 100);
    await Promise.all(callers).finally(() => clearInterval(timer));
  });

  test("are as light with a thousand that wait as with a hundred", async () => {
    const { page } = visit;
    const callers = callHeld("crowded", CROWD + 2);
    try {
      const countText = page.getByText(`2 of 2 permits held, ${CROWD} waiting`);
      await page.goto(`${url}/#/upstreams/crowded`);
      await countText.waitFor();
      await page
        .getByText(`and ${CROWD - 100} more`)
        .first()
        .waitFor();
      expect(await page.locator("tbody tr").count()).toBe(102);
      expect(await page.evaluate<number>("document.querySelectorAll('*').length")).toBeLessThan(1_500);
      const { body: events } = await fetch(`${url}/upstreams/crowded/events`);
      const reader = events?.getReader();
      expect((await reader?.read())?.value?.length).toBeLessThan(40_000);
      await reader?.cancel();
      await page.getByRole("button", { name: "Raise the limit of crowded" }).click();
      await page.getByText(`3 of 3 permits held, ${CROWD - 1} waiting`).waitFor();
    } finally {
      // All get a permit, and a response: nothing is left that would wait.
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify({ concurrency: CROWD });
      await fetch(`${url}/upstreams/crowded`, { method: "PATCH", headers, body });
      const timer = setInterval(release, 100);
      await Promise.all(callers).finally(() => clearInterval(timer));
    }
  });
});
