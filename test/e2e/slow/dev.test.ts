/** What the quick start in README.md promises, over real HTTP, without internet. */
import { createHash, randomBytes } from "node:crypto";
import { request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, test } from "vitest";
import { asFlags, type DevServer, startDev, temporaryFolder } from "../../support/dev-server.ts";

interface Scheduled {
  message: string;
  tasks: { id: string; url: string }[];
}

const storage = temporaryFolder();
let server: DevServer;
const stopped: DevServer = { url: "", output: () => "", kill: async () => {} };

beforeAll(async () => {
  server = stopped;
  server = await startDev(storage.path);
});
afterAll(async () => {
  await server.kill();
  storage.remove();
});

interface Task {
  status: string;
  startedAt: string;
  finishedAt: string;
}

const getJson = async <T>(url: string): Promise<T> => (await fetch(url)).json() as Promise<T>;

/** The task, once it has ended. */
async function untilEnded(url: string): Promise<Task> {
  let task = await getJson<Task>(url);
  while (!task.finishedAt) {
    await sleep(100);
    task = await getJson<Task>(url);
  }
  return task;
}

test.concurrent("GET /hello: the first word at once, the second a second later", async (context) => {
  const read = async () => {
    const startedAtMs = Date.now();
    const response = await fetch(`${server.url}/hello`);
    const chunks: { text: string; isEarly: boolean }[] = [];
    for await (const chunk of response.body ?? [])
      chunks.push({ text: Buffer.from(chunk).toString(), isEarly: Date.now() - startedAtMs < 950 });
    return chunks;
  };
  // On a busy machine, this client may be late for the first word. Whatever holds it back would do so each time.
  await context.expect.poll(read, { timeout: 30_000 }).toEqual([
    { text: "Hello,", isEarly: true },
    { text: "world!", isEarly: false },
  ]);
});

test.concurrent("GET /run-tasks responds before its tasks end; they run side by side, and log it", async (context) => {
  const run = async () => {
    const { message, tasks } = await getJson<Scheduled>(`${server.url}/run-tasks`);
    const respondedAtMs = Date.now();
    const ended = await Promise.all(tasks.map(async ({ url }) => untilEnded(url)));
    const [startedAtMs, finishedAtMs] = [
      ended.map(({ startedAt }) => Date.parse(startedAt)),
      ended.map(({ finishedAt }) => Date.parse(finishedAt)),
    ];
    return {
      message,
      statuses: ended.map(({ status }) => status),
      isEarly: respondedAtMs < Math.min(...finishedAtMs),
      isSideBySide: Math.max(...startedAtMs) < Math.min(...finishedAtMs),
    };
  };
  // As above: this client may be late.
  await context.expect.poll(run, { timeout: 60_000 }).toEqual({
    message: "Tasks scheduled",
    statuses: ["succeeded", "succeeded"],
    isEarly: true,
    isSideBySide: true,
  });
  await context.expect.poll(() => server.output()).toContain("Task A completed.");
  await context.expect.poll(() => server.output()).toContain("Task B completed.");
});

test.concurrent("POST /upload-file, and the same bytes back", async (context) => {
  const bytes = randomBytes(6 * 1024 * 1024);
  const form = new FormData();
  form.set("file", new File([bytes], "röntgen.bin"));
  const response = await fetch(`${server.url}/upload-file`, { method: "POST", body: form });
  const stored = (await response.json()) as Record<string, string>;
  context.expect([response.status, response.headers.get("Location")]).toEqual([201, stored.url]);
  context.expect(stored).toMatchObject({
    filename: "röntgen.bin",
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  });
  const back = Buffer.from(await (await fetch(String(stored.url))).arrayBuffer());
  context.expect(back.equals(bytes)).toBe(true);
});

test.concurrent("GET /data, without internet", async (context) => {
  context
    .expect(await getJson(`${server.url}/data`))
    .toMatchObject({ id: 1, title: context.expect.any(String) });
});

describe("a page of a name that resolves to this machine (DNS rebinding) cannot call,", () => {
  const CHROME = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0",
    "Accept-Language": "en",
  };
  const port = () => new URL(server.url).port;
  const statusOf = async (method: string, headers: (port: string) => Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      const { hostname } = new URL(server.url);
      httpRequest(
        { hostname, port: port(), path: "/files", method, headers: headers(port()) },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      )
        .on("error", reject)
        .end();
    });

  test.for<[string, string, (port: string) => Record<string, string>, number]>([
    ["as it is", "GET", (at) => ({ ...CHROME, Host: `evil.example:${at}` }), 401],
    [
      "with a forged URL, which the local runtime believes",
      "GET",
      (at) => ({ ...CHROME, Host: `evil.example:${at}`, "MF-Original-URL": `http://localhost:${at}/files` }),
      403,
    ],
    [
      "with a forged URL and mode, as a fetch of Node would have",
      "GET",
      (at) => ({
        ...CHROME,
        "Accept-Language": "*",
        Host: `evil.example:${at}`,
        "MF-Original-URL": `http://localhost:${at}/files`,
        "X-Mf-Sec-Fetch-Mode": "cors",
      }),
      403,
    ],
    [
      "with a forged URL and its own Origin",
      "POST",
      (at) => ({
        Host: `evil.example:${at}`,
        Origin: `http://evil.example:${at}`,
        "MF-Original-URL": `http://localhost:${at}/run-tasks`,
      }),
      403,
    ],
    ["by the Origin of another site alone", "GET", () => ({ Origin: "https://evil.example" }), 403],
  ])("%s", async ([_name, method, headers, status], { expect }) => {
    expect(await statusOf(method, headers)).toBe(status);
  });

  test("but our own pages, curl and Node can", async ({ expect }) => {
    const own = { ...CHROME, "Sec-Fetch-Site": "same-origin" };
    expect(await statusOf("GET", () => own)).toBe(200);
    expect(await statusOf("GET", (at) => ({ ...own, Origin: `http://localhost:${at}` }))).toBe(200);
    expect(await statusOf("GET", () => ({ "User-Agent": "curl/8.5.0" }))).toBe(200);
    expect((await fetch(`${server.url}/files`)).status).toBe(200);
  });
});

test("with an invalid variable it does not start, and says why", async ({ expect }) => {
  const elsewhere = temporaryFolder();
  const starting = startDev(elsewhere.path, asFlags({ ACCESS: "ajar" }));
  await expect(starting).rejects.toThrow(/The variable ACCESS/);
  elsewhere.remove();
});
