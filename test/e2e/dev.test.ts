/** What the quick start in README.md promises, over real HTTP, without internet. */
import { createHash, randomBytes } from "node:crypto";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { asFlags, type DevServer, startDev, temporaryFolder } from "../support/dev-server.ts";

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

test("GET /run-tasks responds before its tasks end; both end soon after 3 s, and log it", async () => {
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

test("GET /data, without internet", async () => {
  expect(await getJson(`${server.url}/data`)).toMatchObject({ id: 1, title: expect.any(String) });
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

  test.each<[string, string, (port: string) => Record<string, string>, number]>([
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
  ])("%s", async (_name, method, headers, status) => {
    expect(await statusOf(method, headers)).toBe(status);
  });

  test("but our own pages, curl and Node can", async () => {
    const own = { ...CHROME, "Sec-Fetch-Site": "same-origin" };
    expect(await statusOf("GET", () => own)).toBe(200);
    expect(await statusOf("GET", (at) => ({ ...own, Origin: `http://localhost:${at}` }))).toBe(200);
    expect(await statusOf("GET", () => ({ "User-Agent": "curl/8.5.0" }))).toBe(200);
    expect((await fetch(`${server.url}/files`)).status).toBe(200);
  });
});

test.each([
  ["ACCESS", "ajar"],
  ["UPSTREAMS", '{"todos": {"origin": "api.example.com"}}'],
  ["DATA_UPSTREAM", "nobody"],
])("with an invalid %s it does not start, and says why", async (name, value) => {
  const elsewhere = temporaryFolder();
  await expect(startDev(elsewhere.path, asFlags({ [name]: value }))).rejects.toThrow(
    new RegExp(`The variable ${name}`),
  );
  elsewhere.remove();
});

test("as when it is deployed: with tokens, and an upstream over HTTP", async () => {
  const token = "e2e-token-0123456789-0123456789-0123456789";
  const seen: IncomingMessage[] = [];
  const upstream = createServer((request, response) => {
    seen.push(request);
    response.setHeader("Content-Type", "application/json").end('{"from":"upstream"}');
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const { port } = upstream.address() as AddressInfo;
  const elsewhere = temporaryFolder();
  const variables = {
    ACCESS: "tokens",
    SLUICE_TOKENS: JSON.stringify([{ name: "e2e", scopes: ["read"], token }]),
    UPSTREAMS: JSON.stringify({ todos: { origin: `http://127.0.0.1:${port}` } }),
    DATA_UPSTREAM: "todos",
  };
  const deployed = await startDev(elsewhere.path, asFlags(variables));
  try {
    expect((await fetch(`${deployed.url}/data`)).status).toBe(401);
    const response = await fetch(`${deployed.url}/data`, {
      headers: { Authorization: `Bearer ${token}`, Cookie: "a=b" },
    });
    expect([response.status, await response.json()]).toEqual([200, { from: "upstream" }]);
    expect(seen.map(({ url, headers }) => [url, headers.authorization, headers.cookie])).toEqual([
      ["/todos/1", undefined, undefined],
    ]);
    upstream.close();
    upstream.closeAllConnections();
    const down = await fetch(`${deployed.url}/data`, { headers: { Authorization: `Bearer ${token}` } });
    expect([down.status, await down.json()]).toMatchObject([503, { detail: "External API request failed" }]);
  } finally {
    upstream.close();
    await deployed.kill();
    elsewhere.remove();
  }
});
