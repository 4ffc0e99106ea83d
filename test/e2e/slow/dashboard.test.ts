/** The dashboard in a real browser, on the built Worker: what a visitor sees and does, with the mouse and without it. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { sharedServer, startOnMiniflare } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

/** Long enough to sign in within it. */
const SIGN_IN_MS = 6_000;

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

  test("asks for a token where it needs one, and forgets it when told to", async () => {
    const { page } = visit;
    const token = "dashboard-token-0123456789-0123456789";
    const tokens = [{ name: "watcher", scopes: ["read"], token }];
    const guarded = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    // The browser reports each 401 by itself.
    visit.expectComplaint("401 (Unauthorized)");
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
  });

  test("asks for a token again when the session ends, also if nobody does anything", async () => {
    const { page } = visit;
    const expiring = { name: "expiring", scopes: ["read"], token: "expiring-token-0123456789-0123456789" };
    const lasting = { name: "lasting", scopes: ["read"], token: "lasting-token-0123456789-0123456789-" };
    const expires_at = new Date(Date.now() + SIGN_IN_MS).toISOString();
    const tokens = [{ ...expiring, expires_at }, lasting];
    const guarded = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    visit.expectComplaint("401 (Unauthorized)");
    const signInAs = async ({ token }: { token: string }) => {
      await page.goto(`${guarded.url}/#/files`);
      await page.getByLabel("A token of this Sluice").fill(token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("Live").waitFor();
    };
    await signInAs(expiring);
    await page.getByLabel("A token of this Sluice").waitFor();
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expires_at));
    await signInAs(lasting);
    // Ended elsewhere: the next call shows it.
    const [cookie] = await page.context().cookies();
    const headers = { Cookie: `${cookie?.name}=${cookie?.value}`, Origin: guarded.url };
    expect((await fetch(`${guarded.url}/sessions`, { method: "DELETE", headers })).status).toBe(204);
    await page.getByRole("link", { name: "Tasks", exact: true }).click();
    await page.getByLabel("A token of this Sluice").waitFor();
  });

  test("obeys no page of another origin, even of this site, which sends the session along", async () => {
    const { page } = visit;
    const token = "forger-token-0123456789-0123456789-0";
    const tokens = [{ name: "operator", scopes: ["read", "write", "admin"], token }];
    const guarded = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    const evil = createServer((_, response) => response.end("<!doctype html><title>evil</title>"));
    await once(evil.listen(0, "127.0.0.1"), "listening");
    const { port } = new URL(guarded.url);
    const evilPort = (evil.address() as AddressInfo).port;
    try {
      const target = `http://localhost:${port}`;
      visit.expectComplaint("401 (Unauthorized)");
      visit.expectComplaint("403 (Forbidden)");
      await page.goto(target);
      await page.getByLabel("A token of this Sluice").fill(token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { name: "See it work" }).waitFor();
      const from = async (host: string, method: string, way: "form" | "fetch") => {
        const forger = await page.context().newPage();
        await forger.goto(`http://${host}:${evilPort}`);
        const sent = forger.waitForRequest((request) => request.url().startsWith(`${target}/`));
        await forger.evaluate(forge, { action: `${target}/run-tasks`, method, way });
        const request = await sent;
        const response = await request.response();
        const headers = await request.allHeaders();
        await forger.close();
        return { hadCookie: headers.cookie?.includes("sluice=") === true, status: response?.status() };
      };
      for (const method of ["POST", "GET"])
        for (const way of ["form", "fetch"] as const) {
          const forged = await from("localhost", method, way);
          expect([method, way, forged]).toEqual([method, way, { hadCookie: true, status: 403 }]);
          const foreign = await from("127.0.0.1", method, way);
          expect([method, way, foreign]).toEqual([method, way, { hadCookie: false, status: 401 }]);
        }
      const all = await fetch(`${target}/tasks`, { headers: { Authorization: `Bearer ${token}` } });
      expect(await all.json()).toMatchObject({ tasks: [] });
    } finally {
      evil.close();
      evil.closeAllConnections();
    }
  });

  test("breaks no rule of accessibility, in any view", async () => {
    for (const view of ["", "tasks", "tasks/new"])
      await visit.checkAccess(`${url}/#/${view}`, async (page) =>
        page.getByRole("heading", { level: 1 }).waitFor(),
      );
  });
});

/** In a page of another origin: a form that is sent, or a `fetch`, as somebody who means harm would do it. */
function forge({ action, method, way }: { action: string; method: string; way: "form" | "fetch" }): void {
  if (way === "fetch") {
    fetch(action, { method, mode: "no-cors", credentials: "include" }).catch(() => {});
    return;
  }
  const form = Object.assign(document.createElement("form"), { action, method });
  document.body.append(form);
  form.submit();
}

test.runIf(!hasChromium)("the dashboard is not tested without Chromium", (context) => {
  console.warn("Chromium is not installed: the dashboard was not tested.");
  context.skip();
});
