/** What is in examples/, each run as its README says, against the real Worker. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { temporaryFolder } from "../../support/dev-server.ts";
import { sharedServer, startOnMiniflare } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

const root = dirname(dirname(dirname(import.meta.dirname)));
const example = (path: string) => join(root, "examples", path);
const desk = temporaryFolder();
const started: ChildProcess[] = [];

let url: string;
beforeAll(async () => {
  ({ url } = await sharedServer());
});
afterEach(async () => {
  for (const child of started.splice(0)) {
    const ended = once(child, "close");
    child.kill();
    await ended;
  }
});
afterAll(() => desk.remove());

/** Starts a program that says where it listens, in its first line. Returns that port, and its further lines. */
async function serve(path: string, env: Record<string, string>): Promise<{ port: number; lines: string[] }> {
  const child = spawn(process.execPath, [example(path)], {
    env: { ...process.env, PORT: "0", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  const [first] = (await once(reader, "line")) as [string];
  reader.on("line", (line) => lines.push(line));
  return { port: Number(/(\d+)$/.exec(first)?.[1]), lines };
}

/** Runs a program to its end. Not in one go: the connections of this process would be forgotten meanwhile. */
async function finish(program: string, args: string[], env: Record<string, string> = {}) {
  const child = spawn(program, args, { cwd: desk.path, env: { ...process.env, ...env } });
  const closed = once(child, "close");
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [status] = (await closed) as [number | null];
  return { stdout, stderr, status };
}

/** As `finish`. Returns what it has printed; throws, with that, if it fails. */
async function run(program: string, args: string[], env: Record<string, string> = {}): Promise<string[]> {
  const { stdout, stderr, status } = await finish(program, args, env);
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout.trimEnd().split("\n");
}

const hasRequests = spawnSync("python3", ["-c", "import requests"]).status === 0;
if (!hasRequests) console.warn("SKIPPED: examples/python, since python3 has no module requests here.");

describe.skipIf(!hasRequests)("examples/python", () => {
  const sluice = async (...args: string[]) =>
    finish("python3", [example("python/sluice.py"), ...args], { SLUICE_URL: url });

  test("submits a task, and sees each of its events once", async () => {
    const { stdout, status } = await sluice("task_a");
    const lines = stdout.trimEnd().split("\n");
    expect([status, lines.at(-1)]).toEqual([0, 'result "Task A completed."']);
    expect(lines[0]).toMatch(/^submitted s\d-/);
    const statuses = lines.flatMap((line) => /^status .*"status": "(\w+)"/.exec(line)?.[1] ?? []);
    expect(statuses).toEqual([...new Set(statuses)]);
    expect(statuses.at(-1)).toBe("succeeded");
  });

  test("says what is wrong with a task that is not accepted", async () => {
    const { stderr, status } = await sluice("no_such_type");
    expect(status).toBe(1);
    expect(stderr).toMatch(/^422 .*\n {2}json\/type: there is no task type/);
  });
});

/** What the tests use of the example, which has its types only where they were generated. */
interface Client {
  follow: (
    connection: { url: string },
    taskId: string,
  ) => AsyncIterable<{ id: number; name: string; data: { n: number } }>;
}
interface Receiver {
  readCallback: (request: Request, key: string) => Promise<{ data: unknown }>;
}

describe("examples/typescript", () => {
  test("has the types of the document, and follows a task", async () => {
    for (const name of readdirSync(example("typescript")).filter((file) => file.endsWith(".ts")))
      copyFileSync(join(example("typescript"), name), join(desk.path, name));
    writeFileSync(join(desk.path, "package.json"), '{"type": "module"}');
    symlinkSync(join(root, "node_modules"), join(desk.path, "node_modules"));
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as object;
    writeFileSync(join(desk.path, "openapi.json"), JSON.stringify(document));
    const require = createRequire(import.meta.url);
    const generator = join(dirname(require.resolve("openapi-typescript/package.json")), "bin/cli.js");
    const hook = `data:text/javascript,${encodeURIComponent(HOOK)}`;
    await run(process.execPath, ["--import", hook, generator, "openapi.json", "--output", "schema.d.ts"]);
    writeFileSync(join(desk.path, "misuse.ts"), MISUSE);
    const options = [
      "--noEmit",
      "--strict",
      "--skipLibCheck",
      "--allowImportingTsExtensions",
      "--types",
      "node",
    ];
    await run(join(root, "node_modules/.bin/tsc"), [
      ...options,
      "--target",
      "ES2024",
      "--module",
      "NodeNext",
      "main.ts",
      "webhook.ts",
      "misuse.ts",
    ]);
    const lines = await run(process.execPath, ["main.ts"], { SLUICE_URL: url });
    expect(lines.at(-1)).toBe("succeeded Task A completed.");
    const ids = lines.flatMap((line) => /^(\d+) status/.exec(line)?.[1] ?? []).map(Number);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("continues after a broken connection, and sees each event once", async () => {
    const { follow } = (await import(example("typescript/client.ts"))) as Client;
    const asked: (string | null)[] = [];
    const { url: origin, close } = await scripted((after) => {
      asked.push(after);
      const event = (id: number) => `id: ${id}\nevent: status\ndata: {"n":${id}}\n\n`;
      if (after === "0") return { chunks: ["retry: 10\n\n", event(1), "id: 2\nevent: sta"], breaks: true };
      if (after === "1") return { chunks: [": still here\n\n", event(2), event(3)], breaks: false };
      return undefined;
    });
    const seen = [];
    for await (const { id, name, data } of follow({ url: origin }, "t")) seen.push([id, name, data.n]);
    close();
    expect(seen).toEqual([1, 2, 3].map((id) => [id, "status", id]));
    expect(asked).toEqual(["0", "1", "3"]);
  });

  test("believes a callback whose signature is right, and no other", async () => {
    const { readCallback } = (await import(example("typescript/webhook.ts"))) as Receiver;
    const message = signed({ type: "task.succeeded", data: { id: "s0-1", result: 5 } });
    const request = (body: string) =>
      new Request("http://x", { method: "POST", headers: message.headers, body });
    expect(await readCallback(request(message.body), KEY)).toMatchObject({ data: { result: 5 } });
    await expect(readCallback(request(message.body.replace("5", "6")), KEY)).rejects.toThrow();
  });
});

describe("examples/webhook-receiver", () => {
  test("handles each genuine callback once, and no forged one", async () => {
    const { port, lines } = await serve("webhook-receiver/server.mjs", { CALLBACK_KEY: KEY });
    const receiver = `http://127.0.0.1:${port}`;
    const message = signed({ type: "task.succeeded", data: { id: "s0-1", result: { n: 5 } } });
    const post = async (body: string, headers: Record<string, string>) =>
      (await fetch(receiver, { method: "POST", body, headers })).status;
    expect(await post(message.body.replace("5", "6"), message.headers)).toBe(401);
    expect(await post(message.body, {})).toBe(401);
    expect(await post(message.body, message.headers)).toBe(204);
    expect(await post(message.body, message.headers)).toBe(204);
    expect((await fetch(receiver)).status).toBe(405);
    await vi.waitFor(() => expect(lines).toEqual(['task.succeeded s0-1 {"n":5}']));
  });

  test("is told by Sluice how a task has ended", async () => {
    const { port, lines } = await serve("webhook-receiver/server.mjs", { CALLBACK_KEY: KEY });
    const origin = `http://localhost:${port}`;
    const server = await startOnMiniflare({
      UPSTREAMS: { app: { origin, methods: ["POST"], concurrency: 2 } },
      CALLBACK_ORIGINS: { [origin]: "app" },
      CALLBACK_KEYS: KEY,
    });
    const body = JSON.stringify({ type: "task_a", callback_url: `${origin}/hooks` });
    const headers = { "Content-Type": "application/json" };
    const { id } = (await (await fetch(`${server.url}/tasks`, { method: "POST", headers, body })).json()) as {
      id: string;
    };
    await vi.waitFor(() => expect(lines).toEqual([`task.succeeded ${id} "Task A completed."`]), {
      timeout: 30_000,
      interval: 200,
    });
  });
});

describe.skipIf(!hasChromium)("examples/browser", () => {
  const visit = visitor();

  test("uploads a file, and follows its task by a link, without a token", async () => {
    const { page } = visit;
    const { port } = await serve("browser/server.mjs", { SLUICE_URL: url });
    const toSluice: string[] = [];
    page.on("request", (request) => {
      if (request.url().startsWith(url)) toSluice.push(new URL(request.url()).pathname);
    });
    await page.goto(`http://localhost:${port}`);
    const file = { name: "hello.txt", mimeType: "text/plain", buffer: Buffer.from("hello") };
    await page.getByLabel("A file").setInputFiles(file);
    await page.getByRole("status").filter({ hasText: "succeeded" }).waitFor();
    expect(
      await page.getByLabel("Sent and done").evaluate((bar) => Reflect.get(bar, "value") as number),
    ).toBe(1);
    expect(toSluice).toHaveLength(1);
    expect(toSluice[0]).toMatch(/^\/tasks\/[\w-]+\/events\/links\/\d+\.[\w-]+$/);
  });
});

const KEY = `whsec_${Buffer.from("a key of the tests, 32 bytes long").toString("base64")}`;

function signed(payload: object) {
  const body = JSON.stringify(payload);
  const now = new Date();
  const signature = new Webhook(KEY).sign("msg_1", now, body);
  const headers = {
    "webhook-id": "msg_1",
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": signature,
  };
  return { body, headers };
}

/** A server of events that says what to respond after each event; undefined: 204. */
async function scripted(
  respond: (after: string | null) => { chunks: string[]; breaks: boolean } | undefined,
) {
  const { createServer } = await import("node:http");
  const server = createServer((request, response) => {
    const answer = respond(String(request.headers["last-event-id"] ?? "") || null);
    if (!answer) return void response.writeHead(204).end();
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(answer.chunks.join(""), () => {
      if (answer.breaks) response.destroy();
      else response.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return { url: `http://127.0.0.1:${port}`, close: () => void server.close() };
}

/** So that the types are seen to check something. */
const MISUSE = `
import { call } from "./client.ts";
const to = { url: "http://localhost" };
// @ts-expect-error there is no such route
await call(to, "get", "/tusks", {});
// @ts-expect-error it has no such method
await call(to, "put", "/tasks", {});
// @ts-expect-error a task needs a type
await call(to, "post", "/tasks", { body: { input: {} } });
// @ts-expect-error a path has an id
await call(to, "get", "/tasks/{id}", {});
const { tasks } = await call(to, "get", "/tasks", { query: { limit: 5 } });
export const id: string | undefined = tasks[0]?.id;
// @ts-expect-error a task has no such member
export const none = tasks[0]?.stadus;
export const nothing: undefined = await call(to, "delete", "/tasks/{id}", { path: { id: "x" } });
`;

/** openapi-typescript uses the compiler's JavaScript API, which TypeScript 7 does not have: it gets TypeScript 5. */
const HOOK = `
import { registerHooks } from "node:module";
registerHooks({
  resolve: (name, context, next) => next(name === "typescript" ? "typescript-5" : name, context),
});
`;
