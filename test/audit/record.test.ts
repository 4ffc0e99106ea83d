import { env, reset } from "cloudflare:test";
import { afterEach, describe, expect, test } from "vitest";
import { objectNamed } from "../../src/kernel/objects.ts";
import { type CallOptions, callWorker, captureLogs } from "../support/call.ts";
import { Faults } from "../support/platform/faults.ts";
import { platform } from "../support/platform/platform.ts";
import { keepQuiet } from "../support/quiet.ts";

keepQuiet();
afterEach(async () => {
  await reset();
});

const BACKEND = "audit-backend-0123456789-0123456789-";
const READER = "audit-reader-0123456789-0123456789--";
const ADMIN = "audit-admin-0123456789-01234567890--";
const VARIABLES = {
  ACCESS: "tokens",
  AUDIT: "on",
  LINK_KEYS: "audit-link-key-0123456789-0123456789",
  SLUICE_TOKENS: [
    { name: "backend", scopes: ["read", "write"], token: BACKEND },
    { name: "reader", scopes: ["read"], token: READER },
    { name: "auditor", scopes: ["admin"], token: ADMIN },
  ],
};

async function call(
  token: string,
  path: string,
  { headers, ...options }: Omit<CallOptions, "headers"> & { headers?: Record<string, string> } = {},
  variables: Record<string, unknown> = VARIABLES,
) {
  const authorization = token === "" ? {} : { Authorization: `Bearer ${token}` };
  const init = { ...options, headers: { ...authorization, ...headers }, variables };
  const { response, settled } = await callWorker(path, init);
  const text = await response.text();
  await settled();
  return { status: response.status, headers: response.headers, text };
}

const json = (body: unknown, method = "POST") => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

interface Page {
  lines: Record<string, unknown>[];
  next: string | null;
}

async function audit(query = ""): Promise<Page> {
  const { status, text } = await call(ADMIN, `/audit${query}`);
  expect([status, text]).toEqual([200, expect.any(String)]);
  return JSON.parse(text);
}

test("each request that may change something leaves a line, whatever came of it", async () => {
  const put = await call(BACKEND, "/files/notes.txt", { method: "PUT", body: "hello" });
  await call(READER, "/files/notes.txt", { method: "DELETE" });
  await call(BACKEND, "/files/notes.txt", { method: "DELETE" });
  await call(BACKEND, "/files/notes.txt", { method: "DELETE" });
  const { lines, next } = await audit();
  expect(next).toBeNull();
  expect(
    lines.map(({ token, method, route, id, status, problem }) => [token, method, route, id, status, problem]),
  ).toEqual([
    ["backend", "DELETE", "/files/{id}", "notes.txt", 404, "not-found"],
    ["backend", "DELETE", "/files/{id}", "notes.txt", 204, null],
    ["reader", "DELETE", "/files/{id}", "notes.txt", 403, "forbidden"],
    ["backend", "PUT", "/files/{id}", "notes.txt", 201, null],
  ]);
  expect(lines[3]?.requestId).toBe(put.headers.get("X-Request-Id"));
  expect(Math.abs(Date.parse(String(lines[3]?.at)) - Date.now())).toBeLessThan(60_000);
});

test("what is created is named, and a GET that starts tasks counts", async () => {
  const { text } = await call(BACKEND, "/tasks", json({ type: "task_a", input: {} }));
  await call(BACKEND, "/run-tasks");
  const { lines } = await audit();
  expect(lines).toMatchObject([
    { method: "GET", route: "/run-tasks", id: null, status: 200 },
    { method: "POST", route: "/tasks", id: JSON.parse(text).id, status: 202 },
  ]);
});

test("what changes nothing leaves no line, and neither does who is not known", async () => {
  await call(READER, "/tasks");
  await call(READER, "/files/a", { method: "HEAD" });
  await call(READER, "/files/a", { method: "OPTIONS" });
  await call("", "/files/a", { method: "DELETE" });
  await call("nobody-0123456789-0123456789-0123456789", "/files/a", { method: "DELETE" });
  expect((await audit()).lines).toEqual([]);
});

test("requests that are too many leave no line: they would fill the log", async () => {
  const [backend, ...others] = VARIABLES.SLUICE_TOKENS;
  const limited = {
    ...VARIABLES,
    SLUICE_TOKENS: [{ ...backend, quota: { requests_per_second: 0.01 } }, ...others],
  };
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++)
    statuses.push((await call(BACKEND, "/files/a", { method: "DELETE" }, limited)).status);
  expect(statuses).toEqual([404, 429, 429]);
  expect((await audit()).lines.map(({ status }) => status)).toEqual([404]);
});

test("a resumable upload has a line for its beginning, and none for each piece", async () => {
  const tus = { "Tus-Resumable": "1.0.0" };
  const created = await call(BACKEND, "/uploads", {
    method: "POST",
    headers: { ...tus, "Upload-Length": "4" },
  });
  const path = new URL(created.headers.get("Location") ?? "", "http://localhost").pathname;
  const piece = { ...tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream" };
  expect((await call(BACKEND, path, { method: "PATCH", headers: piece, body: "abcd" })).status).toBe(204);
  const { lines } = await audit();
  expect(lines).toMatchObject([
    { route: "/uploads", method: "POST", id: path.split("/").pop(), status: 201 },
  ]);
});

test("who has no token acts under the name of the grant, or of the link", async () => {
  const grant = await call(BACKEND, "/uploads/grants", json({ name: "form", max_bytes: 10, expires_in: 60 }));
  const { url } = JSON.parse(grant.text);
  expect((await call("", new URL(url).pathname, { method: "PUT", body: "x" })).status).toBe(201);
  const task = JSON.parse(
    (await call(BACKEND, "/tasks", json({ type: "task_a", input: {}, delay: 60 }))).text,
  ).id;
  const link = await call(BACKEND, `/tasks/${task}/signals/go/links`, json({ expires_in: 60 }));
  await call("", new URL(JSON.parse(link.text).url).pathname, { method: "POST" });
  const { lines } = await audit();
  expect(lines.map(({ token, route }) => [token, route])).toEqual([
    ["link", "/tasks/{id}/signals/{name}/links/{token}"],
    ["backend", "/tasks/{id}/signals/{name}/links"],
    ["backend", "/tasks"],
    ["grant:form", "/uploads/grants/{id}"],
    ["backend", "/uploads/grants"],
  ]);
  expect(JSON.stringify(lines)).not.toContain(url.split("/").pop());
});

describe("GET /audit", () => {
  test.each([
    ["?token=reader", [403]],
    ["?method=put", [201]],
    ["?route=/files/{id}&status=204", [204]],
    ["?id=b.txt", [404]],
    ["?since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z", []],
    ["?token=&method=&limit=2", [404, 204]],
  ])("%s", async (query, statuses) => {
    await call(BACKEND, "/files/a.txt", { method: "PUT", body: "a" });
    await call(READER, "/files/a.txt", { method: "DELETE" });
    await call(BACKEND, "/files/a.txt", { method: "DELETE" });
    await call(BACKEND, "/files/b.txt", { method: "DELETE" });
    expect((await audit(query)).lines.map(({ status }) => status)).toEqual(statuses);
  });

  test("has its lines on pages", async () => {
    for (const id of ["a", "b", "c"]) await call(BACKEND, `/files/${id}`, { method: "DELETE" });
    const first = await audit("?limit=2");
    const second = await audit(`?limit=2&cursor=${first.next}`);
    expect([...first.lines, ...second.lines].map(({ id }) => id)).toEqual(["c", "b", "a"]);
    expect(second.next).toBeNull();
  });

  test.each(["?cursor=x", "?status=999", "?since=yesterday", "?limit=0", "?limit=201"])(
    "refuses %s",
    async (query) => {
      expect((await call(ADMIN, `/audit${query}`)).status).toBe(422);
    },
  );

  test("is for admins alone, and says how it is turned on", async () => {
    expect((await call(BACKEND, "/audit")).status).toBe(403);
    const off = await call(ADMIN, "/audit", {}, { ...VARIABLES, AUDIT: "off" });
    expect([off.status, off.text]).toEqual([409, expect.stringContaining("AUDIT")]);
  });
});

test("turned off, nothing is called", async () => {
  await call(BACKEND, "/files/a", { method: "DELETE" }, { ...VARIABLES, AUDIT: "off" });
  const { lines } = await objectNamed(env, "AUDIT_LOG", "audit").find({}, undefined, 10);
  expect(lines).toEqual([]);
});

test("where the log does not respond, requests are answered all the same, and the line is in the Worker's log", async () => {
  const { faults } = platform;
  const own = new Faults();
  own.add({ kind: "overloaded", binding: "AUDIT_LOG" });
  faults.apply = async (made, make) => own.apply(made, make);
  try {
    const { value, lines } = await captureLogs(async () => call(BACKEND, "/files/a", { method: "DELETE" }));
    expect(value.status).toBe(404);
    expect(lines).toContainEqual(
      expect.objectContaining({
        message: "a line of the audit log could not be written",
        line: expect.objectContaining({ token: "backend", id: "a", status: 404 }),
      }),
    );
  } finally {
    Reflect.deleteProperty(faults, "apply");
  }
});
