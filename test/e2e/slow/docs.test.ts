/** The API reference in a real browser: its dress, its links, and calls with the rights of a session. */
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { sharedServer, startOnMiniflare } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

/** axe looks at hundreds of elements on each of four screens, and a slow machine takes half a minute for one. */
const SCREENS_MS = 300_000;

describe.skipIf(!hasChromium)("/docs", () => {
  const visit = visitor();

  test("opens the operation that a view links to", async () => {
    const { page } = visit;
    const { url } = await sharedServer();
    await page.goto(`${url}/#/tasks/new`);
    await page.getByRole("link", { name: "POST /tasks" }).click();
    await page.locator("#operations-Tasks-submitTasks").getByRole("button", { name: "Execute" }).waitFor();
    await page.getByRole("link", { name: "Upstreams", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "Upstreams" }).waitFor();
  });

  test.each([
    ["light", "rgb(246, 248, 249)"],
    ["dark", "rgb(18, 24, 28)"],
  ] as const)("wears the dress of the dashboard: %s", async (colorScheme, back) => {
    const { url } = await sharedServer();
    const page = await visit.reopen({ colorScheme });
    await page.goto(`${url}/docs`);
    await page.getByText("List tasks, newest first").waitFor();
    const colour = "getComputedStyle(document.documentElement).backgroundColor";
    expect(await page.evaluate<string>(colour)).toBe(back);
  });

  test(
    "breaks no rule of accessibility, and has nothing beside the screen",
    async () => {
      const { url } = await sharedServer();
      const ready = async (page: Page) => page.getByText("List tasks, newest first").waitFor();
      await visit.checkAccess(`${url}/docs`, ready);
    },
    SCREENS_MS,
  );

  test(
    "breaks none where an operation is open, tried and answered",
    async () => {
      const { url } = await sharedServer();
      const ready = async (page: Page) => {
        const operation = page.locator("#operations-Tasks-listTaskTypes");
        await operation.getByRole("button", { name: "Execute" }).click();
        await operation.locator(".live-responses-table .response-col_status", { hasText: "200" }).waitFor();
      };
      await visit.checkAccess(`${url}/docs#/Tasks/listTaskTypes`, ready);
    },
    SCREENS_MS,
  );

  test("calls with the session's rights, also what changes something", async () => {
    const { page } = visit;
    const token = "docs-token-0123456789-0123456789-abc";
    const tokens = [{ name: "writer", scopes: ["read", "write"], token }];
    const { url } = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    visit.expectComplaint("401 (Unauthorized)");
    await page.goto(url);
    await page.getByLabel("A token of this Sluice").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "See it work" }).waitFor();
    for (const [id, status] of [
      ["Tasks-listTaskTypes", "200"],
      ["Examples-runTasksByPost", "200"],
    ] as const) {
      await page.goto(`${url}/docs#/${id.replace("-", "/")}`);
      await page.reload();
      const operation = page.locator(`#operations-${id}`);
      await operation.getByRole("button", { name: "Execute" }).click();
      await operation.locator(".live-responses-table .response-col_status", { hasText: status }).waitFor();
    }
  });
});
