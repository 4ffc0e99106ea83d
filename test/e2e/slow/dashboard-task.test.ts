/** The view of one task: its history, what it was given and gave, and that nothing moves under a selection. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { startOnMiniflare } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

describe.skipIf(!hasChromium)("one task on the dashboard", () => {
  const visit = visitor();
  /** Responds with 500 until the test says otherwise. */
  let isWell = false;
  let upstream: Server;
  let url: string;

  beforeAll(async () => {
    upstream = createServer((_request, response) => {
      response.statusCode = isWell ? 200 : 500;
      response.setHeader("Content-Type", "application/json").end('{"z": 12.5, "a": [1e21]}');
    });
    await once(upstream.listen(0, "127.0.0.1"), "listening");
    const origin = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
    ({ url } = await startOnMiniflare({ UPSTREAMS: { moody: { origin, retries: 0 } } }));
  });
  afterAll(() => {
    upstream?.close();
    upstream?.closeAllConnections();
  });

  async function start(task: object, more: Record<string, string> = {}): Promise<string> {
    const headers = { "Content-Type": "application/json", ...more };
    const response = await fetch(`${url}/tasks`, { method: "POST", headers, body: JSON.stringify(task) });
    const { id } = (await response.json()) as { id: string };
    return id;
  }

  test("is retrying, which is not failed, until an attempt succeeds", async () => {
    const { page } = visit;
    isWell = false;
    const id = await start({ type: "http_request", input: { path: "/x", upstream: "moody" } });
    await page.goto(`${url}/#/tasks/${id}`);
    await page.locator(".state.retrying").waitFor();
    await page.getByText(/^The last attempt failed: .*500.*The next one begins in \d+ s\.$/).waitFor();
    expect(await page.getByRole("region", { name: "Error" }).count()).toBe(0);
    await page.getByText(`taskId: ${id}`).waitFor();
    const history = page.getByRole("region", { name: "History" });
    await history.getByRole("heading", { name: "Attempt 1" }).waitFor();
    await history.getByText(/attempt failed: .*, goes on in \d+ s/).waitFor();
    isWell = true;
    await history.getByRole("heading", { name: "Attempt 2" }).waitFor();
    await page.locator(".state.succeeded").waitFor();
    expect(await history.getByText(/^\d runs/).isVisible()).toBe(true);
    expect(
      await history
        .getByRole("listitem")
        .filter({ hasText: /^ ?retrying \d/ })
        .count(),
    ).toBe(1);
    expect(await history.locator("time").first().getAttribute("title")).toMatch(/\(\d{4}-.*Z\)$/);
  });

  test("shows input and result with sorted members and exact numbers, and copies them", async () => {
    const { page } = visit;
    isWell = true;
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    const id = await start({ type: "http_request", input: { upstream: "moody", path: "/x" } });
    await page.goto(`${url}/#/tasks/${id}`);
    const result = page.getByRole("region", { name: "Result" });
    await result.getByText("1e+21").waitFor();
    const copied = async (name: string) => {
      await page.getByRole("button", { name: `Copy: ${name}` }).click();
      await page.getByText(`${name} copied.`).waitFor();
      return page.evaluate<string>("navigator.clipboard.readText()");
    };
    const input = await copied("Input");
    expect(input).toBe(await page.getByRole("region", { name: "Input" }).locator("pre").textContent());
    expect(Object.keys(JSON.parse(input) as object)).toEqual(
      Object.keys(JSON.parse(input) as object).toSorted(),
    );
    expect(await copied("The id")).toBe(id);
  });

  test("keeps still while text is selected, says so, and is then up to date", async () => {
    const { page } = visit;
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const id = await start(
      { type: "task_a", delay: 3_600 },
      { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    );
    await page.goto(`${url}/#/tasks/${id}`);
    await page.getByRole("heading", { name: "Before the first attempt" }).waitFor();
    await page.getByText(traceId).waitFor();
    await page.evaluate(`getSelection().selectAllChildren(document.querySelector("pre"))`);
    const held = "Updates wait while text is selected";
    await page.getByText(`${held}.`).waitFor();
    const before = await page.locator("main").innerText();
    await fetch(`${url}/tasks/${id}/cancel`, { method: "POST" });
    await page.getByText(`${held}: there is something new.`).waitFor();
    expect(await page.locator("main").innerText()).toBe(
      before.replace(`${held}.`, `${held}: there is something new.`),
    );
    await page.evaluate("getSelection().removeAllRanges()");
    await page.locator(".state.cancelled").waitFor();
    await page.getByRole("listitem").filter({ hasText: "cancelled" }).waitFor();
  });

  test("follows the one stream of the page, with its children, and asks nothing while nothing happens", async () => {
    const { page } = visit;
    const id = await start({ type: "task_a", delay: 3_600 });
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    const other = await start({ type: "task_a", delay: 3_600 });
    await page.goto(`${url}/#/tasks/${id}`);
    await page.getByText("Live").waitFor();
    // When the view opens, and when the stream begins.
    const readings = () => asked.filter((path) => path === `/tasks/${id}/events`).length;
    await expect.poll(readings, { timeout: 10_000 }).toBe(2);
    asked.length = 0;
    await fetch(`${url}/tasks/${other}/cancel`, { method: "POST" });
    await page.waitForTimeout(3_000);
    expect(asked).toEqual([]);
    await fetch(`${url}/tasks/${id}/cancel`, { method: "POST" });
    await page.locator(".state.cancelled").waitFor();
    await page.getByRole("listitem").filter({ hasText: "cancelled" }).waitFor();
    expect(asked).toEqual([`/tasks/${id}`, `/tasks/${id}/events`]);
  });

  test("says when it is not up to date, and is again when the stream is back", async () => {
    const { page } = visit;
    const id = await start({ type: "task_a", delay: 3_600 });
    visit.expectComplaint("ERR_FAILED");
    await page.route("**/events?kinds=*", async (route) => route.abort());
    await page.goto(`${url}/#/tasks/${id}`);
    await page.getByRole("heading", { name: "Before the first attempt" }).waitFor();
    await page.getByText("Not up to date: connecting again…").waitFor();
    await fetch(`${url}/tasks/${id}/cancel`, { method: "POST" });
    await page.unroute("**/events?kinds=*");
    await page.getByText("Live").waitFor();
    await page.locator(".state.cancelled").waitFor();
  });

  test("breaks no rule of accessibility", async () => {
    isWell = true;
    const id = await start({ type: "task_a", delay: 3_600 });
    await fetch(`${url}/tasks/${id}/cancel`, { method: "POST" });
    await visit.checkAccess(`${url}/#/tasks/${id}`, async (page) =>
      page.getByRole("listitem").filter({ hasText: "cancelled" }).waitFor(),
    );
  });
});
