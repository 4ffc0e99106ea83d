/** `npm run export`, against `npm run dev`, and against a Sluice that is in trouble. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevServer, startDev, temporaryFolder } from "../../support/dev-server.ts";

const root = dirname(dirname(dirname(import.meta.dirname)));
const folder = temporaryFolder();
afterAll(() => folder.remove());

type Line = Record<string, Record<string, unknown>>;

/** Runs it, and returns how it ended and what it has written. */
async function runExport(url: string, token = "", file = join(folder.path, `${crypto.randomUUID()}.ndjson`)) {
  const child = spawn(process.execPath, ["scripts/export.ts", url, file], {
    cwd: root,
    env: { ...process.env, SLUICE_TOKEN: token },
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (text) => (output += String(text)));
  child.stderr.on("data", (text) => (errors += String(text)));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  const lines = existsSync(file)
    ? readFileSync(file, "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Line)
    : undefined;
  return { code, output, errors, lines };
}

describe("of a running Sluice", () => {
  const storage = temporaryFolder();
  let server: DevServer | undefined;
  beforeAll(async () => {
    server = await startDev(storage.path);
  });
  afterAll(async () => {
    await server?.kill();
    storage.remove();
  });
  const post = async (path: string, body: unknown) => {
    const response = await fetch(`${server?.url}${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    expect(response.ok).toBe(true);
  };

  test("it has every task with its input, every file and every schedule, over several pages", async () => {
    const COUNT = 230;
    const task = (n: number) => ({ type: "task_a", delay: 3_600, input: { n } });
    await post(
      "/tasks",
      Array.from({ length: COUNT }, (_, n) => task(n)),
    );
    await post("/schedules", { cron: "0 3 * * *", type: "task_a" });
    for (const id of ["a.txt", "b.txt"])
      await fetch(`${server?.url}/files/${id}`, { method: "PUT", body: `bytes of ${id}` });
    const { code, lines = [], output, errors } = await runExport(String(server?.url));
    expect([code, errors]).toEqual([0, ""]);
    const tasks = lines.flatMap(({ task: one }) => (one ? [one] : []));
    expect(new Set(tasks.map(({ id }) => id)).size).toBe(COUNT);
    const inputs = tasks.map(({ input }) => (input as { n?: number }).n);
    expect(inputs.toSorted((a = 0, b = 0) => a - b)).toEqual(Array.from({ length: COUNT }, (_, n) => n));
    expect(lines.flatMap(({ file }) => (file ? [String(file.id)] : []))).toEqual(["a.txt", "b.txt"]);
    // Beside it may be schedules that src/index.ts declares.
    const schedules = lines.flatMap(({ schedule }) => (schedule ? [schedule] : []));
    expect(schedules.filter(({ declared }) => declared === false)).toMatchObject([{ cron: "0 3 * * *" }]);
    expect(lines.at(-1)).toEqual({ end: { tasks: COUNT, schedules: schedules.length, files: 2 } });
    expect(output).toContain(`tasks ${COUNT}, schedules ${schedules.length}, files 2.`);
  });
});

describe("of a Sluice in trouble", () => {
  type Handler = (path: string, response: ServerResponse, authorization: string | undefined) => void;
  /** Runs the export against a server that responds like this. */
  async function against(handler: Handler, token?: string) {
    const server = createServer(({ url = "", headers }, response) =>
      handler(url, response, headers.authorization),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      return await runExport(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, token);
    } finally {
      server.close();
    }
  }
  const sendJson = (response: ServerResponse, value: unknown) => response.end(JSON.stringify(value));
  const LISTS: Record<string, object> = {
    "/schedules": { schedules: [] },
    "/files": { files: [], next: null },
    "/tasks": { tasks: [{ id: "s0-gone" }, { id: "s0-a" }], next: null },
  };

  test("it waits as long as it is told, sends its token, and leaves out what is removed meanwhile", async () => {
    const atMs: number[] = [];
    const { code, lines, errors } = await against((path, response, authorization) => {
      const list = LISTS[path.split("?")[0] ?? ""];
      if (authorization !== "Bearer secret") response.writeHead(401).end();
      else if (path.startsWith("/schedules?") && atMs.push(Date.now()) === 1)
        response.writeHead(503, { "Retry-After": "1" }).end();
      else if (list) sendJson(response, list);
      else if (path === "/tasks/s0-gone") response.writeHead(404).end();
      else sendJson(response, { id: "s0-a", input: {} });
    }, "secret");
    expect([code, lines]).toEqual([
      0,
      [{ task: { id: "s0-a", input: {} } }, { end: { tasks: 1, schedules: 0, files: 0 } }],
    ]);
    expect(Number(atMs[1]) - Number(atMs[0])).toBeGreaterThanOrEqual(950);
    expect(errors).toContain("GET /schedules?limit=100&cursor=: 503 \nTrying again in 1 s.");
  });

  test("an export that is not complete does not have its name, and says why", async () => {
    const { code, lines, errors } = await against((path, response) => {
      if (path.startsWith("/schedules?")) sendJson(response, LISTS["/schedules"]);
      else response.writeHead(403).end("no scope");
    });
    expect([code, lines]).toEqual([1, undefined]);
    expect(errors).toMatch(/GET \/files\?limit=100&cursor=: 403 no scope[^]*is not complete/);
  });
});

test("a file that exists is left as it is", async () => {
  const file = join(folder.path, "kept.ndjson");
  writeFileSync(file, "{}\n");
  const { code, errors, lines } = await runExport("http://127.0.0.1:1", "", file);
  expect([code, errors, lines]).toEqual([2, expect.stringContaining("kept.ndjson exists."), [{}]]);
});

test("without a URL and a file, it says how it is called", async () => {
  const { code, errors } = await runExport("not a URL");
  expect([code, errors]).toEqual([2, expect.stringContaining("SLUICE_TOKEN=")]);
});
