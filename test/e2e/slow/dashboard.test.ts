/** The dashboard in a real browser, on the built Worker: what a visitor sees and does, with the mouse and without it. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CHROMIUM, hasChromium } from "../../support/chromium.ts";
import { sharedServer, startOnMiniflare } from "../../support/node/built-worker.ts";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

describe.skipIf(!hasChromium)("the dashboard", () => {
  let browser: Browser;
  let page: Page;
  let url: string;
  /** What the page wrote to its console, its errors and what its policy blocked among it. */
  let complaints: string[];

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: String(CHROMIUM), args: FLAGS });
    ({ url } = await sharedServer());
  });
  afterAll(async () => browser?.close());
  beforeEach(async () => {
    await open();
  });
  afterEach(async () => {
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  async function open(options: Parameters<Browser["newContext"]>[0] = {}): Promise<void> {
    const context = await browser.newContext(options);
    page = await context.newPage();
    complaints = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
  }

  test("makes the four example calls, and leads to where each is seen", async () => {
    await page.goto(url);
    const run = async (title: string, output: RegExp) => {
      const card = page.locator("section").filter({ hasText: title });
      await card.getByRole("button", { name: "Run" }).click();
      await card.locator(".output").filter({ hasText: output }).waitFor();
      return card;
    };
    await run("A streamed response", /Hello,\s*world!/);
    await run("A call under a shared limit", /"title":/);
    const upload = await run("A file, streamed into R2", /"sha256":/);
    const tasks = await run("Background tasks", /Tasks scheduled/);
    expect(await tasks.getByRole("link", { name: "See the tasks" }).isVisible()).toBe(true);
    await upload.getByRole("link", { name: "See the file" }).click();
    await page.getByRole("heading", { name: /hello\.txt/ }).waitFor();
    await page.getByText("Hello, Sluice.").waitFor();
  });

  test("shows a limit that is lowered, and who waits", async () => {
    await page.goto(`${url}/#/upstreams`);
    const card = page.getByRole("region", { name: "demo" });
    await card.getByText("limit 5").waitFor();
    // So that permits are held whenever the page asks.
    const seen = new AbortController();
    const callers = Array.from({ length: 12 }, async (_, i) => {
      while (!seen.signal.aborted) await (await fetch(`${url}/fetch/demo/todos/${100 + i}`)).text();
    });
    await card.getByText(/[1-9]\d* of \d permits held/).waitFor();
    await card.getByRole("button", { name: "Lower the limit of demo" }).click();
    await card.getByText("limit 4").waitFor();
    await card.getByRole("button", { name: "Raise the limit of demo" }).click();
    await card.getByText("limit 5").waitFor();
    seen.abort();
    await Promise.all(callers);
    await card.getByText(/0 of 5 permits held/).waitFor();
    await card.getByRole("button", { name: "Pause" }).click();
    await card.getByText("Paused").waitFor();
    await card.getByRole("button", { name: "Resume" }).click();
    await card.getByRole("button", { name: "Pause" }).waitFor();
  });

  test("starts a task from a form, and follows it to its result", async () => {
    await page.goto(`${url}/#/tasks/new`);
    await page.getByLabel("Type").selectOption("task_a");
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByText('"Task A completed."').waitFor();
    const history = page.getByRole("listitem");
    expect(await history.count()).toBeGreaterThanOrEqual(2);
    await page.goto(`${url}/#/tasks?status=succeeded&type=task_a`);
    expect(await page.getByRole("combobox", { name: "Status" }).inputValue()).toBe("succeeded");
    await page.getByRole("link", { name: "task_a" }).first().waitFor();
  });

  test("shows tasks as they come and end, counts them, and does one thing to all that match", async () => {
    await page.goto(`${url}/#/tasks?type=task_b`);
    await page.getByText("Live").waitFor();
    const batch = Array.from({ length: 100 }, () => ({ type: "task_b", input: {}, delay: 3600 }));
    const submit = async () =>
      fetch(`${url}/tasks`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(batch),
      });
    for (let i = 0; i < 10; i++) expect((await submit()).status).toBe(202);
    await page.getByRole("button", { name: "1,000 scheduled" }).click();
    expect(page.url()).toContain("status=scheduled");
    await expect.poll(async () => page.getByRole("row").count()).toBe(51);
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByRole("button", { name: "Cancel 1000" }).click();
    await page.getByText("1000 of 1000 tasks cancelled.").waitFor();
    await page.getByText("There are no such tasks.").waitFor();
    await page.getByRole("button", { name: "1,000 cancelled" }).waitFor();
  });

  test("stands still while text is selected, and then shows what has come", async () => {
    await page.goto(`${url}/#/tasks?type=task_a`);
    await fetch(`${url}/run-tasks`);
    const links = page.getByRole("link", { name: "task_a" });
    await links.first().waitFor();
    await page.getByText("Live").waitFor();
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody'))");
    await page.getByText("Stands still").waitFor();
    const before = await links.count();
    await fetch(`${url}/run-tasks`);
    await page.getByText("there is something new").waitFor();
    expect(await links.count()).toBe(before);
    await page.evaluate("getSelection().removeAllRanges()");
    await expect.poll(async () => links.count()).toBe(before + 1);
  });

  test("uploads a file, which is whole", async () => {
    const bytes = randomBytes(3_000_000);
    await page.goto(`${url}/#/files`);
    await page
      .locator("input[type=file]")
      .setInputFiles({ name: "läuft.bin", mimeType: "application/octet-stream", buffer: bytes });
    await page.getByText(/, done$/).waitFor();
    await page.getByRole("link", { name: "läuft.bin" }).first().click();
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    await page.getByText(Buffer.from(digest).toString("hex")).waitFor();
  });

  test("shows an HTML file as text, and runs nothing of it", async () => {
    const html = "<script>document.title = 'ran'; fetch('/evil')</script><img src=x onerror=alert(1)>";
    await fetch(`${url}/files/evil.html`, {
      method: "PUT",
      body: html,
      headers: { "Content-Type": "text/html" },
    });
    await page.goto(`${url}/#/files/evil.html`);
    await page.getByText("document.title = 'ran'").waitFor();
    expect(await page.title()).toBe("Sluice");
  });

  test("can be used with the keyboard alone", async () => {
    await page.goto(url);
    await page.getByRole("link", { name: "Tasks" }).waitFor();
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("Skip to content");
    for (let i = 0; i < 20 && (await focused()) !== "Tasks"; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Tasks" }).waitFor();
    for (let i = 0; i < 20 && (await focused()) !== "New task"; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByLabel("Type").waitFor();
  });

  const focused = async () => page.evaluate<string>("document.activeElement?.textContent.trim() ?? ''");

  test("asks for a token where it needs one, and forgets it when told to", async () => {
    const token = "dashboard-token-0123456789-0123456789";
    const tokens = [{ name: "watcher", scopes: ["read"], token }];
    const guarded = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    await page.goto(guarded.url);
    await page.getByLabel("A token of this Sluice").fill("not-the-token-0123456789-0123456789");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("This token is unknown.").waitFor();
    await page.getByLabel("A token of this Sluice").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "See it work" }).waitFor();
    // What the token may not do is not offered.
    expect(await page.getByRole("heading", { level: 2 }).allTextContents()).toEqual([
      "A streamed response",
      "A call under a shared limit",
    ]);
    const cookies = await page.context().cookies();
    expect(cookies).toMatchObject([{ httpOnly: true, secure: true, sameSite: "Strict" }]);
    expect(await page.evaluate<string>("document.cookie + JSON.stringify(localStorage)")).not.toContain(
      token,
    );
    await page.getByText("watcher").click();
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByLabel("A token of this Sluice").waitFor();
    // The browser reports each 401 by itself.
    complaints = complaints.filter((text) => !text.includes("401 (Unauthorized)"));
  });

  test.each([
    ["light", 1280],
    ["dark", 1280],
    ["light", 360],
    ["dark", 360],
  ] as const)("breaks no rule of accessibility: %s, %i px", async (colorScheme, width) => {
    await page.context().close();
    await open({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    for (const view of ["", "upstreams", "tasks", "tasks/new", "tasks/schedules", "files"]) {
      await page.goto(`${url}/#/${view}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.evaluate(readFileSync(AXE, "utf8"));
      const violations = await page.evaluate(async () => {
        const { axe } = globalThis as unknown as { axe: { run: () => Promise<{ violations: Violation[] }> } };
        return (await axe.run()).violations.map(
          ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
        );
      });
      expect([view, violations]).toEqual([view, []]);
      expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
    }
  });
});

interface Violation {
  id: string;
  nodes: { html: string }[];
}

test.runIf(!hasChromium)("the dashboard is not tested without Chromium", (context) => {
  console.warn("Chromium is not installed: the dashboard was not tested.");
  context.skip();
});
