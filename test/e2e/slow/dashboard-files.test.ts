/** The view of the files: previews, links, jobs on a file, dropped folders, and an upload that goes on after a reload. */
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SAMPLES } from "../../../scripts/demo/samples.ts";
import { hasChromium } from "../../support/chromium.ts";
import { sharedServer } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

const MIB = 1024 * 1024;
const media = (name: string) => readFileSync(join(import.meta.dirname, "media", name));

describe.skipIf(!hasChromium)("the files on the dashboard", () => {
  const visit = visitor();
  const folder = mkdtempSync(join(tmpdir(), "sluice-files-"));
  let url: string;
  beforeAll(async () => {
    ({ url } = await sharedServer());
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function store(id: string, contentType: string, body: BodyInit): Promise<void> {
    const headers = { "Content-Type": contentType };
    expect((await fetch(`${url}/files/${id}`, { method: "PUT", headers, body })).ok).toBe(true);
  }
  const sample = (name: string) => SAMPLES[name]?.body() ?? "";

  test("come, change and go as others store and remove them, but not while they stand still", async () => {
    const { page } = visit;
    const put = async (name: string, body: string) =>
      fetch(`${url}/files/live-${name}`, { method: "PUT", headers: { "Content-Type": "text/plain" }, body });
    const row = (text: string) => page.getByRole("row").filter({ hasText: text });
    await page.goto(`${url}/#/files?prefix=live-`);
    await page.getByText("Live").waitFor();
    await page.getByText("There are no such files.").waitFor();
    await put("b", "1");
    await row("live-b").filter({ hasText: "1 bytes" }).waitFor();
    await put("a", "1");
    await put("b", "four");
    await row("live-b").filter({ hasText: "4 bytes" }).waitFor();
    expect(await page.getByRole("row").locator("code").allTextContents()).toEqual(["live-a", "live-b"]);
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody'))");
    await page.getByText("Stands still").waitFor();
    await fetch(`${url}/files/live-a`, { method: "DELETE" });
    await page.getByText("there is something new").waitFor();
    expect(await row("live-a").count()).toBe(1);
    await page.evaluate("getSelection().removeAllRanges()");
    await row("live-a").waitFor({ state: "detached" });
    await row("live-b").getByRole("link").click();
    await page.getByText("four", { exact: true }).waitFor();
    await put("b", "another");
    await page.getByText("another", { exact: true }).waitFor();
  });

  test("have previews: a table, the pages of a PDF, an image, sound, a film, text", async () => {
    const { page } = visit;
    await store("seen.csv", "text/csv", sample("walks.csv"));
    await page.goto(`${url}/#/files/seen.csv`);
    await page.getByRole("cell", { name: "Over the common, and back" }).waitFor();
    await page.getByRole("columnheader", { name: "dogs" }).waitFor();

    await store("seen.pdf", "application/pdf", sample("walks.pdf"));
    await page.goto(`${url}/#/files/seen.pdf`);
    await page.getByRole("button", { name: "Show the pages" }).click();
    await page.getByText("Page 1 of 1").waitFor();
    const darkPixels = await page.locator("canvas").evaluate((canvas) => {
      const { width, height } = canvas as unknown as { width: number; height: number };
      const context = (canvas as unknown as Canvas).getContext("2d");
      return context.getImageData(0, 0, width, height).data.filter((value, i) => i % 4 === 0 && value < 99)
        .length;
    });
    expect(darkPixels).toBeGreaterThan(100);

    await store("seen.png", "image/png", media("red.png"));
    await page.goto(`${url}/#/files/seen.png`);
    const image = page.getByRole("img", { name: "Preview of seen.png" });
    await expect
      .poll(async () => image.evaluate((img) => (img as unknown as Image).naturalWidth))
      .toBeGreaterThan(0);
    for (const [name, type, tag] of [
      ["tone.wav", "audio/wav", "audio"],
      ["film.webm", "video/webm", "video"],
    ] as const) {
      await store(name, type, media(name));
      await page.goto(`${url}/#/files/${name}`);
      // It knows how long it is: it could be decoded.
      await expect
        .poll(async () => page.locator(tag).evaluate((one) => (one as unknown as Media).duration))
        .toBeGreaterThan(0);
    }
    await store("seen.svg", "image/svg+xml", "<svg onload='document.title=1'>ring</svg>");
    await page.goto(`${url}/#/files/seen.svg`);
    await page.getByText("<svg onload='document.title=1'>ring</svg>").waitFor();
    expect(await page.title()).toBe("Sluice");
  });

  test("have links that end when one says, digests, and are deleted when one confirms", async () => {
    const { page } = visit;
    const body = "only for a while";
    const headers = { "Content-Type": "text/plain" };
    await fetch(`${url}/files/kept.txt?expires_in=7200`, { method: "PUT", headers, body });
    await page.goto(`${url}/#/files/kept.txt`);
    await page.getByText(createHash("sha256").update(body).digest("hex")).waitFor();
    await page.getByText(`sha-256=:${createHash("sha256").update(body).digest("base64")}:`).waitFor();
    await page.getByText("expires in 1 hr.").waitFor();
    await page.getByRole("button", { name: "Make a link" }).click();
    const link = page.getByLabel("Link", { exact: true });
    await link.waitFor();
    expect(await (await fetch(await link.inputValue())).text()).toBe(body);
    const ends = await page
      .getByText(/It ends/)
      .locator("time")
      .getAttribute("datetime");
    expect(Math.abs(Date.parse(String(ends)) - Date.now() - 3_600_000)).toBeLessThan(120_000);
    const answer = async (accepts: boolean) => {
      page.once("dialog", (dialog) => void (accepts ? dialog.accept() : dialog.dismiss()).catch(() => {}));
      await page.getByRole("button", { name: "Delete" }).click();
    };
    await answer(false);
    expect((await fetch(`${url}/files/kept.txt`)).status).toBe(200);
    await answer(true);
    await page.getByText("kept.txt is deleted.").waitFor();
    expect((await fetch(`${url}/files/kept.txt`)).status).toBe(404);
  });

  test("are found by the beginning of their id, and a job starts from a file's menu", async () => {
    const { page } = visit;
    await store("walks-to-hash.csv", "text/csv", sample("walks.csv"));
    await store("other.csv", "text/csv", "a");
    await page.goto(`${url}/#/files`);
    await page.getByLabel("Id begins with").fill("walks-to");
    await page.getByRole("link", { name: "other.csv" }).waitFor({ state: "detached" });
    await page.getByRole("link", { name: "walks-to-hash.csv" }).click();
    await page.getByText("Start a job").click();
    await page.getByRole("link", { name: "hash_file" }).click();
    expect(await page.getByLabel("fileId").inputValue()).toBe("walks-to-hash.csv");
    await page.getByRole("button", { name: "Start" }).click();
    await page.locator(".state.succeeded").waitFor();
  });

  test("can be dropped as a folder, with those in its folders", async () => {
    const { page } = visit;
    mkdirSync(join(folder, "dropped/inner"), { recursive: true });
    writeFileSync(join(folder, "dropped/one.txt"), "1");
    writeFileSync(join(folder, "dropped/inner/two.txt"), "22");
    await page.goto(`${url}/#/files`);
    const box = await page.getByRole("region", { name: "Upload" }).boundingBox();
    const place = { x: (box?.x ?? 0) + 200, y: (box?.y ?? 0) + 30 };
    const client = await page.context().newCDPSession(page);
    const data = { items: [], files: [join(folder, "dropped")], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"] as const)
      await client.send("Input.dispatchDragEvent", { type, ...place, data });
    for (const name of ["one.txt", "two.txt"]) {
      await page
        .getByRole("listitem")
        .filter({ hasText: name })
        .getByText(/, done$/)
        .waitFor();
      await page.getByRole("link", { name }).waitFor();
    }
  });

  test("of 100 MiB go on after a reload where they were, and are whole", async () => {
    const { page } = visit;
    const path = join(folder, "large.bin");
    const bytes = randomBytes(100 * MIB);
    writeFileSync(path, bytes);
    const digest = createHash("sha256").update(bytes).digest("hex");
    await page.goto(`${url}/#/files`);
    await page.locator("input[type=file]").setInputFiles(path);
    const progress = page.getByRole("progressbar", { name: "large.bin" });
    // The first piece, of 50 MB, has been acknowledged.
    await expect
      .poll(async () => progress.evaluate((bar) => (bar as unknown as Bar).value), {
        timeout: 60_000,
        interval: 20,
      })
      .toBeGreaterThan(52_000_000);
    await page.reload();
    await page.getByText(/large\.bin \(100\.0 MiB\) was interrupted/).waitFor();
    const resumed = page.waitForResponse((response) => response.request().method() === "HEAD");
    await page.locator("input[type=file]").setInputFiles(path);
    const offset = Number((await resumed).headers()["upload-offset"]);
    expect(offset).toBeGreaterThanOrEqual(50_000_000);
    expect(offset).toBeLessThan(100 * MIB);
    await page.getByText(/, done$/).waitFor({ timeout: 90_000 });
    await page.getByRole("link", { name: "large.bin" }).click();
    await page.getByText(digest).waitFor();
  });

  test("break no rule of accessibility", async () => {
    await store("rules.csv", "text/csv", sample("walks.csv"));
    await visit.checkAccess(`${url}/#/files`, async (page) =>
      page.getByRole("link", { name: "rules.csv" }).waitFor(),
    );
    await visit.checkAccess(`${url}/#/files/rules.csv`, async (page) => {
      await page.getByRole("button", { name: "Make a link" }).click();
      await page.getByLabel("Link", { exact: true }).waitFor();
      await page.getByText("Start a job").click();
      await page.getByRole("cell").first().waitFor();
    });
  });
});

interface Canvas {
  getContext: (kind: "2d") => {
    getImageData: (x: number, y: number, width: number, height: number) => { data: Uint8ClampedArray };
  };
}
interface Image {
  naturalWidth: number;
}
interface Media {
  duration: number;
}
interface Bar {
  value: number;
}
