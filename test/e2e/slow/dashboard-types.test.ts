/** Pausing and resuming a task type on the page. */
import { beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { sharedServer } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

describe.skipIf(!hasChromium)("a task type on the dashboard", () => {
  const visit = visitor();
  let url: string;
  beforeAll(async () => {
    ({ url } = await sharedServer());
  });

  test("is paused, which is said in words whatever the list shows, and resumed", async () => {
    const { page } = visit;
    await page.goto(`${url}/#/tasks?type=task_a`);
    await page.getByText("task_a has no limit.").waitFor();
    await page.getByRole("button", { name: "Pause task_a" }).click();
    await page.getByText("task_a is paused: its tasks are accepted, and stay queued.").waitFor();
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`${url}/tasks`, { method: "POST", headers, body: '{"type": "task_a"}' });
    const { id } = (await answer.json()) as { id: string };
    const status = async () => {
      const task = (await (await fetch(`${url}/tasks/${id}`)).json()) as { status: string };
      return task.status;
    };
    expect(await status()).toBe("queued");
    await page.goto(`${url}/#/tasks`);
    await page.reload();
    await page.getByText("task_a is paused").waitFor();
    await page.getByRole("button", { name: "Resume task_a" }).click();
    await page.getByText("task_a is paused").waitFor({ state: "detached" });
    await expect.poll(status, { timeout: 15_000 }).toBe("succeeded");
  });
});
