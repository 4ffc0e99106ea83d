/** The dashboard in a real browser, on the built Worker: what a visitor sees and does, with the mouse and without it. */
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { sharedServer } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

describe.skipIf(!hasChromium)("the dashboard", () => {
  const visit = visitor();
  let url: string;
  beforeAll(async () => {
    ({ url } = await sharedServer());
  });

  test("makes the four example calls, and leads to where each is seen", async () => {
    const { page } = visit;
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
    const { page } = visit;
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
    await card.getByText("Paused: nobody gets a permit.").waitFor();
    await card.getByRole("button", { name: "Resume" }).click();
    await card.getByRole("button", { name: "Pause" }).waitFor();
  });

  test("starts a task from a form, and follows it to its result", async () => {
    const { page } = visit;
    await page.goto(`${url}/#/tasks/new`);
    await page.getByLabel("Type").selectOption("task_a");
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByText('"Task A completed."').waitFor();
    const history = page.getByRole("listitem");
    expect(await history.count()).toBeGreaterThanOrEqual(2);
    await page.goto(`${url}/#/tasks?status=succeeded&type=task_a`);
    expect(await page.getByRole("combobox", { name: "Status" }).inputValue()).toBe("succeeded");
    await page.getByRole("link", { name: "task_a" }).first().waitFor();
    await page.getByText("By type").click();
    const figures = page.getByRole("region", { name: "task_a" });
    await figures.getByRole("img", { name: /^Took: [1-9]\d* up to 10 s/ }).waitFor();
  });

  test("shows tasks as they come and end, counts them, and does one thing to all that match", async () => {
    const { page } = visit;
    await page.goto(`${url}/#/tasks?type=task_b`);
    await page.getByText("Live").waitFor();
    const batch = Array.from({ length: 100 }, () => ({
      type: "task_b",
      input: {},
      delay: 3600,
      tags: ["nightly"],
    }));
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
    await page.getByRole("link", { name: "nightly" }).first().click();
    await expect.poll(() => page.url()).toContain("tag=nightly");
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByRole("button", { name: "Cancel 1000" }).click();
    await page.getByText("1,000 tasks cancelled.").waitFor();
    await page.getByText("There are no such tasks.").waitFor();
    await page.getByRole("button", { name: "1,000 cancelled" }).waitFor();
  });

  test("stands still while text is selected, and then shows what has come", async () => {
    const { page } = visit;
    const linkToNew = async () => {
      const response = await fetch(`${url}/run-tasks`);
      const { tasks } = (await response.json()) as { tasks: { id: string }[] };
      return page.locator(`a[href="#/tasks/${tasks[0]?.id}"]`);
    };
    await page.goto(`${url}/#/tasks?type=task_a`);
    await page.getByText("Live").waitFor();
    const before = await linkToNew();
    await before.waitFor();
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody'))");
    await page.getByText("Stands still").waitFor();
    const after = await linkToNew();
    await page.getByText("there is something new").waitFor();
    expect([await before.count(), await after.count()]).toEqual([1, 0]);
    await page.evaluate("getSelection().removeAllRanges()");
    await after.waitFor();
  });

  test("uploads a file, which is whole", async () => {
    const { page } = visit;
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
    const { page } = visit;
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
    const { page } = visit;
    await page.goto(url);
    await page.getByRole("link", { name: "Tasks", exact: true }).waitFor();
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("Skip to content");
    for (let i = 0; i < 20 && (await focused()) !== "Tasks"; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Tasks" }).waitFor();
    for (let i = 0; i < 20 && (await focused()) !== "New task"; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByLabel("Type").waitFor();
  });

  const focused = async () => visit.page.evaluate<string>("document.activeElement?.textContent.trim() ?? ''");

  test("breaks no rule of accessibility, in any view", async () => {
    for (const view of ["", "tasks", "tasks/new"])
      await visit.checkAccess(`${url}/#/${view}`, async (page) =>
        page.getByRole("heading", { level: 1 }).waitFor(),
      );
  });
});

test.runIf(!hasChromium)("the dashboard is not tested without Chromium", (context) => {
  console.warn("Chromium is not installed: the dashboard was not tested.");
  context.skip();
});
