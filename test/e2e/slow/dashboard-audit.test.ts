/** The audit log on the dashboard. */
import { beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { startOnMiniflare } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

describe.skipIf(!hasChromium)("the audit log on the dashboard", () => {
  const visit = visitor();
  let url: string;

  beforeAll(async () => {
    ({ url } = await startOnMiniflare({ AUDIT: "on" }));
    for (const method of ["PUT", "DELETE", "DELETE"])
      await (await fetch(`${url}/files/ete.txt`, { method, ...(method === "PUT" && { body: "x" }) })).text();
  });

  test("shows who has changed what, newest first, and filters", async () => {
    const { page } = visit;
    await page.goto(`${url}/`);
    await page.getByRole("link", { name: "Audit" }).click();
    const rows = page.locator("tbody tr");
    await expect.poll(() => rows.count()).toBe(3);
    expect(await rows.first().innerText()).toMatch(/local\s+DELETE \/files\/\{id\}\s+.*\s+404 not-found/);
    await page.getByLabel("Status").fill("204");
    await page.getByLabel("Status").press("Tab");
    await expect.poll(() => rows.count()).toBe(1);
    expect(page.url()).toContain("status=204");
    await fetch(`${url}/files/a`, { method: "PUT", body: "x" });
    await page.getByLabel("Status").fill("");
    await page.getByLabel("Status").press("Tab");
    await expect.poll(() => rows.count()).toBe(4);
    await page.getByLabel("Status").fill("2");
    visit.expectComplaint("422");
    await page.getByLabel("Status").press("Tab");
    await page
      .getByText(/status/)
      .first()
      .waitFor();
  });

  test("breaks no rule of accessibility", async () => {
    await visit.checkAccess(`${url}/#/audit`, async (page) => {
      await page.locator("tbody tr").first().waitFor();
    });
  });
});
