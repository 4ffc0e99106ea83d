/** The view of the schedules: when they run in words, and making, changing, pausing, running and deleting one. */
import { beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { sharedServer } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

describe.skipIf(!hasChromium)("the schedules on the dashboard", () => {
  const visit = visitor();
  let url: string;
  beforeAll(async () => {
    ({ url } = await sharedServer());
  });

  test("are created by a form, told in words, and deleted", async () => {
    const { page } = visit;
    await page.goto(`${url}/#/tasks/schedules`);
    await page.getByText("New schedule").click();
    await page.getByLabel("When").fill("5 4 * * MON-FRI");
    await page.getByText("at 04:05 on Monday to Friday", { exact: true }).waitFor();
    await page.getByLabel("Time zone").fill("Europe/Berlin");
    await page.getByLabel("Task type").selectOption("hash_file");
    await page.getByLabel("fileId").fill("some-file.txt");
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByText("The schedule runs hash_file from its next tick on.").waitFor();
    const card = page.getByRole("listitem").filter({ hasText: "5 4 * * MON-FRI" });
    await card.getByText("Runs at 04:05 on Monday to Friday, Europe/Berlin time.").waitFor();
    await card.getByText("No run yet.").waitFor();
    expect(await card.locator("time").count()).toBe(5);
    expect(await card.locator("time").last().getAttribute("title")).toMatch(/\(\d{4}-.*Z\)$/);
    await card.getByText("Input").click();
    await card.getByText('"fileId": "some-file.txt"').waitFor();
    page.once("dialog", (dialog) => void dialog.accept().catch(() => {}));
    await card.getByRole("button", { name: "Delete" }).click();
    await card.waitFor({ state: "detached" });
  });

  test("show what others do to them, but not while they stand still", async () => {
    const { page } = visit;
    const headers = { "Content-Type": "application/json" };
    const make = async (hour: number) => {
      const body = JSON.stringify({ cron: `0 ${hour} 1 1 *`, type: "task_b" });
      const made = await fetch(`${url}/schedules`, { method: "POST", headers, body });
      const { url: itsUrl } = (await made.json()) as { url: string };
      return itsUrl;
    };
    const cardOf = (hour: number) => page.getByRole("listitem").filter({ hasText: `0 ${hour} 1 1 *` });
    await page.goto(`${url}/#/tasks/schedules`);
    await page.getByText("Live").waitFor();
    const first = await make(3);
    await cardOf(3).waitFor();
    await page.getByRole("button", { name: "Stand still" }).click();
    const second = await make(4);
    await page.getByText("there is something new").waitFor();
    expect(await cardOf(4).count()).toBe(0);
    await page.getByRole("button", { name: "Go on" }).click();
    await cardOf(4).waitFor();
    for (const one of [first, second]) await fetch(one, { method: "DELETE" });
    await cardOf(3).waitFor({ state: "detached" });
    await cardOf(4).waitFor({ state: "detached" });
  });

  test("are changed in a form that has what they are, paused, resumed and run", async () => {
    const { page } = visit;
    const body = JSON.stringify({
      cron: "7 3 * * *",
      time_zone: "Europe/Berlin",
      type: "hash_file",
      input: { fileId: "old-file.txt" },
      overlap: "queue",
      then: [{ type: "task_a" }],
    });
    const headers = { "Content-Type": "application/json" };
    await fetch(`${url}/schedules/edited.one`, { method: "PUT", headers, body });
    await page.goto(`${url}/#/tasks/schedules`);
    const card = page.getByRole("listitem").filter({ hasText: "edited.one" });
    await card.getByRole("button", { name: "Edit" }).click();
    expect(await page.getByLabel("Time zone").inputValue()).toBe("Europe/Berlin");
    expect(await page.getByLabel("Task type").inputValue()).toBe("hash_file");
    expect(await page.getByLabel("While the previous run goes on").inputValue()).toBe("queue");
    expect(await page.getByLabel("fileId").inputValue()).toBe("old-file.txt");
    await page.getByLabel("When").fill("@weekly");
    await page.getByLabel("fileId").fill("new-file.txt");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("The schedule of hash_file is changed.").waitFor();
    await card.getByText("Runs at 00:00 on Sunday, Europe/Berlin time.").waitFor();
    const changed = (await (await fetch(`${url}/schedules/edited.one`)).json()) as object;
    expect(changed).toMatchObject({
      cron: "@weekly",
      input: { fileId: "new-file.txt" },
      overlap: "queue",
      then: [{ type: "task_a" }],
    });
    await card.getByRole("button", { name: "Pause" }).click();
    await card.getByText("No run while it is paused.").waitFor();
    await card.getByRole("button", { name: "Run now" }).click();
    await page.getByText("The run of hash_file has started.").waitFor();
    await card.getByText("Last runs").click();
    // Its run, and then how that ends, come by the stream.
    await card.getByText(/: (succeeded|failed)$/).waitFor();
    await card.getByRole("button", { name: "Resume" }).click();
    await card.getByText("Next", { exact: false }).waitFor();
    await card.getByRole("button", { name: "Edit" }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await fetch(`${url}/schedules/edited.one`, { method: "DELETE" });
  });

  test("say what is wrong with a new one, and keep what was entered", async () => {
    const { page } = visit;
    visit.expectComplaint("422");
    await page.goto(`${url}/#/tasks/schedules`);
    await page.getByText("New schedule").click();
    await page.getByLabel("When").fill("61 4 * * *");
    await page.getByLabel("Task type").selectOption("task_a");
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByRole("alert").filter({ hasText: 'json/cron: "61" is not a valid minute' }).waitFor();
    expect(await page.getByLabel("When").inputValue()).toBe("61 4 * * *");
  });

  test("show the last run, what was skipped, and what went wrong", async () => {
    const { page } = visit;
    const schedule = {
      id: "x",
      cron: "* * * * *",
      timeZone: "UTC",
      type: "task_a",
      overlap: "skip",
      missed: "skip",
      declared: true,
      paused: false,
      input: {},
      next: ["2036-01-01T00:00:00.000Z"],
      lastTickAt: "2026-01-01T00:00:00.000Z",
      lastTaskId: "s0-1",
      lastError: { name: "Error", message: "It is full." },
      waiting: 0,
      skippedCount: 3,
      missedCount: 1,
    };
    await page.route("**/schedules?*", async (route) =>
      route.fulfill({ json: { schedules: [schedule], next: null } }),
    );
    await page.goto(`${url}/#/tasks/schedules`);
    const card = page.getByRole("listitem").filter({ hasText: "task_a" });
    await card.getByText("Ticks: 3 skipped, 1 missed.").waitFor();
    await card.getByText("It is full.").waitFor();
    expect(await card.getByRole("link", { name: "Last run" }).getAttribute("href")).toBe("#/tasks/s0-1");
    expect(await card.getByRole("button", { name: "Delete" }).count()).toBe(0);
    expect(await card.getByRole("button", { name: "Edit" }).count()).toBe(0);
    await page.getByText("Those of src/jobs/schedules.ts are changed there.").waitFor();
  });

  test("break no rule of accessibility", async () => {
    const body = JSON.stringify({ cron: "0 0 1 1 *", type: "task_a" });
    const headers = { "Content-Type": "application/json" };
    await fetch(`${url}/schedules`, { method: "POST", headers, body });
    await visit.checkAccess(`${url}/#/tasks/schedules`, async (page) => {
      await page.getByText("New schedule").click();
      await page.getByLabel("Task type").selectOption("analyze_file");
      await page.getByLabel("fileId").waitFor();
      await page.getByText("Last runs").first().click();
      await page.getByText("None yet.").waitFor();
    });
  });
});
