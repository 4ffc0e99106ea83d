/** What the README's quick start promises, over real HTTP, with no internet; and what a kill leaves behind. */
import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevServer, startDev, temporaryFolder } from "../support/dev-server.ts";

interface Scheduled {
  message: string;
  tasks: { id: string; url: string }[];
}

const storage = temporaryFolder();
let server: DevServer;

beforeAll(async () => {
  server = await startDev(storage.path);
});
afterAll(async () => {
  await server.kill();
  storage.remove();
});

const getJson = async <T>(url: string): Promise<T> => (await fetch(url)).json() as Promise<T>;

test("GET /hello: the first word at once, the second a second later", async () => {
  const startedAtMs = Date.now();
  const response = await fetch(`${server.url}/hello`);
  const chunks: { text: string; afterMs: number }[] = [];
  for await (const chunk of response.body ?? []) {
    chunks.push({ text: Buffer.from(chunk).toString(), afterMs: Date.now() - startedAtMs });
  }
  expect(chunks.map((chunk) => chunk.text)).toEqual(["Hello,", "world!"]);
  expect(chunks[0]?.afterMs).toBeLessThan(900);
  expect(chunks[1]?.afterMs).toBeGreaterThanOrEqual(950);
});

test("GET /run-tasks answers before its tasks are done; both are done soon after 3 s, and have logged it", async () => {
  const startedAtMs = Date.now();
  const { message, tasks } = await getJson<Scheduled>(`${server.url}/run-tasks`);
  expect(Date.now() - startedAtMs).toBeLessThan(1500);
  expect([message, tasks.length]).toEqual(["Tasks scheduled", 2]);
  const statuses = async () =>
    Promise.all(tasks.map(async ({ url }) => (await getJson<{ status: string }>(url)).status));
  expect(await statuses()).toEqual(["running", "running"]);
  await expect.poll(statuses, { timeout: 10_000, interval: 100 }).toEqual(["succeeded", "succeeded"]);
  expect(Date.now() - startedAtMs).toBeLessThan(4800);
  await expect.poll(() => server.output()).toContain("Task A completed.");
  await expect.poll(() => server.output()).toContain("Task B completed.");
});

test("POST /upload-file, and the same bytes back", async () => {
  const bytes = randomBytes(12 * 1024 * 1024);
  const form = new FormData();
  form.set("file", new File([bytes], "röntgen.bin"));
  const response = await fetch(`${server.url}/upload-file`, { method: "POST", body: form });
  const stored = (await response.json()) as Record<string, string>;
  expect([response.status, response.headers.get("Location")]).toEqual([201, stored.url]);
  expect(stored).toMatchObject({
    filename: "röntgen.bin",
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  });
  const back = Buffer.from(await (await fetch(String(stored.url))).arrayBuffer());
  expect(back.equals(bytes)).toBe(true);
});

test("GET /data, with no internet", async () => {
  expect(await getJson(`${server.url}/data`)).toMatchObject({ id: 1, title: expect.any(String) });
});

describe("after a kill -9 in the middle of two tasks", () => {
  test("the tasks are still there, and are seen not to have finished", async () => {
    const { tasks } = await getJson<Scheduled>(`${server.url}/run-tasks`);
    await server.kill();
    server = await startDev(storage.path);
    for (const { id } of tasks) {
      const task = await getJson<Record<string, unknown>>(`${server.url}/tasks/${id}`);
      expect(task).toMatchObject({
        id,
        status: expect.stringMatching(/^(running|lost)$/),
        finishedAt: null,
        result: null,
      });
    }
    const statuses = async () =>
      Promise.all(
        tasks.map(async ({ id }) => (await getJson<{ status: string }>(`${server.url}/tasks/${id}`)).status),
      );
    await expect.poll(statuses, { timeout: 20_000, interval: 500 }).toEqual(["lost", "lost"]);
  });
});

test("with a bad variable it does not start, and says which", async () => {
  await expect(startDev(storage.path, ["--var", "ACCESS:ajar"])).rejects.toThrow(/The variable ACCESS/);
});
