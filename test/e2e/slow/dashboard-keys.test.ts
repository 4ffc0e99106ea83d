/** What holds for every view of the dashboard: the keyboard, focus, live regions, times, and the way to the API. */
import { beforeAll, describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { sharedServer } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

const VIEWS = ["", "tasks", "tasks/new", "tasks/schedules", "files", "upstreams", "upstreams/demo"];

describe.skipIf(!hasChromium)("every view of the dashboard", () => {
  const visit = visitor();
  let url: string;
  beforeAll(async () => {
    ({ url } = await sharedServer());
  });

  test("is reached by keys, which a dialog lists and can turn off", async () => {
    const { page } = visit;
    const heading = async (name: string) => page.getByRole("heading", { level: 1, name }).waitFor();
    await page.goto(url);
    await heading("See it work");
    for (const [key, name] of [
      ["t", "Tasks"],
      ["c", "Tasks / Schedules"],
      ["n", "Tasks / New"],
      ["f", "Files"],
      ["u", "Upstreams"],
      ["s", "See it work"],
    ] as const) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await heading(name);
    }
    await page.keyboard.press("?");
    const dialog = page.getByRole("dialog", { name: "Keyboard shortcuts" });
    await dialog.getByText("New task").waitFor();
    // In the dialog they do nothing, and Escape closes it.
    await page.keyboard.press("g");
    await page.keyboard.press("t");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await heading("See it work");
    await page.getByRole("button", { name: "Keyboard shortcuts" }).click();
    await dialog.getByLabel("They act").uncheck();
    await dialog.getByRole("button", { name: "Close" }).click();
    await page.reload();
    await heading("See it work");
    await page.keyboard.press("g");
    await page.keyboard.press("t");
    await page.keyboard.press("?");
    await dialog.getByLabel("They act").check();
    await page.keyboard.press("Escape");
    await heading("See it work");
  });

  test("has no keys where one writes, nor with a modifier, and / leads to the filter", async () => {
    const { page } = visit;
    const focused = async (member: string) => page.evaluate<string>(`document.activeElement.${member}`);
    await page.goto(`${url}/#/files`);
    await page.getByLabel("Id begins with").waitFor();
    await page.keyboard.press("Control+/");
    expect(await focused("tagName")).toBe("BODY");
    await page.keyboard.press("/");
    expect(await focused("type")).toBe("search");
    await page.goto(`${url}/#/tasks`);
    const search = page.getByLabel("Text");
    await search.waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("gu?/");
    expect(await search.inputValue()).toBe("gu?/");
    expect(page.url()).toContain("#/tasks");
  });

  test.each(VIEWS)(
    "#/%s shows where the focus is, each time exactly, and the API behind it",
    async (view) => {
      const { page } = visit;
      await fetch(`${url}/files/timed.txt`, { method: "PUT", body: "x" });
      await fetch(`${url}/run-tasks`, { method: "POST" });
      await page.goto(`${url}/#/${view}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      let stops = 0;
      for (; stops < 14; stops++) {
        await page.keyboard.press("Tab");
        // Past the last one, the browser has the focus.
        if (await page.evaluate<boolean>("document.activeElement === document.body")) break;
        const outline = await page.evaluate<string>(
          "(({ outlineStyle, outlineWidth }) => outlineStyle + ' ' + outlineWidth)(getComputedStyle(document.activeElement))",
        );
        expect(outline).toBe("solid 3px");
      }
      expect(stops).toBeGreaterThan(7);
      const times = await page.evaluate<[string, string][]>(
        "[...document.querySelectorAll('time')].map((time) => [time.dateTime, time.title])",
      );
      for (const [dateTime, title] of times) {
        expect(dateTime).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
        expect(title).toContain(dateTime);
      }
      const behind = page.getByRole("contentinfo").getByRole("link");
      const document = (await (await fetch(`${url}/openapi.json`)).json()) as OpenApi;
      const known = Object.entries(document.paths).flatMap(([path, item]) =>
        Object.entries(item).map(([method, { operationId, tags }]) => [
          `/docs#/${encodeURIComponent(tags?.[0] ?? "")}/${operationId ?? ""}`,
          `${method.toUpperCase()} ${path}`,
        ]),
      );
      const shown = await behind.evaluateAll((links) =>
        (links as unknown as Link[]).map((link) => [link.getAttribute("href"), link.textContent]),
      );
      expect(shown.length).toBeGreaterThan(0);
      for (const link of shown) expect(known).toContainEqual(link);
    },
  );

  test("says nothing to a screen reader while numbers change", async () => {
    const { page } = visit;
    await page.goto(`${url}/#/upstreams/demo`);
    const calls = page.getByText(/^\d+ calls, /);
    await calls.waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    await page.evaluate(`{
      globalThis.said = 0;
      const regions = document.querySelectorAll("[role=status], [role=alert], [aria-live]");
      const observer = new MutationObserver((changes) => { globalThis.said += changes.length; });
      for (const region of regions) observer.observe(region, { subtree: true, childList: true, characterData: true });
      globalThis.regions = regions.length;
    }`);
    const before = await calls.textContent();
    for (let i = 0; i < 3; i++) await (await fetch(`${url}/fetch/demo/todos/${i + 1}?said=${i}`)).text();
    await expect.poll(async () => calls.textContent()).not.toBe(before);
    expect(await page.evaluate("globalThis.regions")).toBeGreaterThan(1);
    expect(await page.evaluate("globalThis.said")).toBe(0);
  });

  test("moves nothing for those who want no motion, and lists its keys accessibly", async () => {
    const page = await visit.reopen({ reducedMotion: "reduce" });
    await page.goto(`${url}/#/tasks`);
    await page.getByRole("heading", { name: "Tasks" }).waitFor();
    const moving = await page.evaluate<number>(
      "[...document.querySelectorAll('*')].filter((one) => { const { animationName, transitionDuration } = getComputedStyle(one); return animationName !== 'none' || transitionDuration !== '0s'; }).length",
    );
    expect(moving).toBe(0);
    await visit.checkAccess(`${url}/#/tasks`, async (opened) => {
      await opened.getByRole("button", { name: "Keyboard shortcuts" }).click();
      await opened.getByRole("dialog").waitFor();
    });
  });
});

interface OpenApi {
  paths: Record<string, Record<string, { operationId?: string; tags?: string[] }>>;
}
interface Link {
  getAttribute: (name: string) => string | null;
  textContent: string;
}
