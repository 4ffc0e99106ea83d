import { createExecutionContext, env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { callForJson, callWorker, captureLogs } from "../support/call.ts";

const UUID = /^[0-9a-f-]{36}$/;

test("every answer carries its request id, whatever kind of answer it is", async () => {
  for (const path of [
    "/",
    "/docs",
    "/docs/swagger-ui.css",
    "/openapi.json",
    "/healthz",
    "/data",
    "/nowhere",
    "/files/none",
  ]) {
    const { response } = await callWorker(path);
    await response.arrayBuffer();
    expect([path, response.headers.get("X-Request-Id")]).toEqual([path, expect.stringMatching(UUID)]);
  }
});

test("a well-formed request id of the caller is kept, any other is replaced", async () => {
  const kept = await callWorker("/healthz", { headers: { "X-Request-Id": "trace-42" } });
  expect(kept.response.headers.get("X-Request-Id")).toBe("trace-42");
  const replaced = await callWorker("/healthz", { headers: { "X-Request-Id": 'a"b<c>' } });
  expect(replaced.response.headers.get("X-Request-Id")).toMatch(UUID);
});

test("an unknown path is a 404 problem with the request id in it", async () => {
  const { status, headers, body } = await callForJson("/no/such/route", {
    headers: { "X-Request-Id": "trace-42" },
  });
  expect(status).toBe(404);
  expect(headers.get("Content-Type")).toBe("application/problem+json");
  expect(body).toEqual({
    type: "urn:sluice:problem:not-found",
    title: "Not found",
    status: 404,
    detail: "There is nothing at /no/such/route.",
    requestId: "trace-42",
  });
});

test.each([
  ["DELETE", "/hello", "GET, HEAD, OPTIONS"],
  ["PUT", "/run-tasks", "GET, HEAD, POST, OPTIONS"],
  ["GET", "/upload-file", "POST, OPTIONS"],
  ["PUT", "/tasks/s0-x", "GET, HEAD, DELETE, OPTIONS"],
  ["PATCH", "/files/x", "GET, HEAD, DELETE, PUT, OPTIONS"],
  ["DELETE", "/files", "GET, HEAD, POST, OPTIONS"],
])("%s %s is a 405 that names the methods there are", async (method, path, allow) => {
  const { status, headers, body } = await callForJson(path, { method });
  expect(status).toBe(405);
  expect(headers.get("Allow")).toBe(allow);
  expect(body.type).toBe("urn:sluice:problem:method-not-allowed");
});

test("OPTIONS is answered with the methods there are", async () => {
  const { response } = await callWorker("/hello", { method: "OPTIONS" });
  expect(response.status).toBe(204);
  expect(response.headers.get("Allow")).toBe("GET, HEAD, OPTIONS");
  expect(response.headers.get("Content-Type")).toBeNull();
});

test("HEAD is answered like GET, without a body", async () => {
  const { response } = await callWorker("/healthz", { method: "HEAD" });
  expect(response.status).toBe(200);
  expect(await response.text()).toBe("");
});

test("a bug is a bare 500; the whole of it is one line in the log, under the request id", async () => {
  const broken = createRouter();
  broken.get("/broken", () => {
    throw new Error("the password is hunter2", { cause: new Error("deeper") });
  });
  const app = createApp({ open: [broken], closed: [] });
  const request = new Request("http://localhost/broken", { headers: { "X-Request-Id": "trace-42" } });
  const { value: response, lines } = await captureLogs(async () =>
    app.fetch(request, env, createExecutionContext()),
  );
  expect(response.status).toBe(500);
  const text = await response.text();
  expect(text).toContain("trace-42");
  for (const secret of ["hunter2", "deeper", ".ts", "at "])
    expect(JSON.parse(text).detail).not.toContain(secret);
  expect(text).not.toContain("hunter2");
  expect(lines).toEqual([
    expect.objectContaining({
      level: "error",
      requestId: "trace-42",
      method: "GET",
      path: "/broken",
      error: "Error: the password is hunter2",
      stack: expect.stringContaining("app.test.ts"),
      cause: expect.objectContaining({ error: "Error: deeper" }),
    }),
  ]);
});

describe("a page of another site", () => {
  const Origin = "https://app.example.com";
  const variables = { CORS_ORIGINS: [Origin, "https://other.example.com"] };
  const preflight = { Origin, "Access-Control-Request-Method": "PATCH" };

  /** The headers of CORS in an answer. */
  const cors = ({ headers }: Response) =>
    Object.fromEntries([...headers].filter(([name]) => name.startsWith("access-control-")));

  test("that CORS_ORIGINS names may ask what it may do, without a token", async () => {
    const { response } = await callWorker("/uploads/x", {
      method: "OPTIONS",
      site: "https://sluice.example.com",
      variables: { ...variables, ACCESS: "tokens" },
      headers: { ...preflight, "Access-Control-Request-Headers": "authorization,upload-offset" },
    });
    expect([response.status, cors(response), response.headers.has("Tus-Version")]).toEqual([
      204,
      {
        "access-control-allow-origin": Origin,
        "access-control-allow-methods": "GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS",
        "access-control-allow-headers": "authorization,upload-offset",
        "access-control-max-age": "7200",
      },
      false,
    ]);
    expect(response.headers.get("Vary")).toContain("Origin");
  });

  test.each([
    ["/files", 200],
    ["/files/none", 404],
    ["/files?limit=0", 422],
    ["/nowhere", 404],
    ["/healthz", 200],
  ])("that CORS_ORIGINS names can read the answer of %s, whatever it is", async (path, status) => {
    const { response } = await callWorker(path, { variables, headers: { Origin } });
    expect([response.status, response.headers.get("Access-Control-Allow-Origin")]).toEqual([status, Origin]);
    expect(response.headers.get("Vary")).toContain("Origin");
    const exposed = response.headers.get("Access-Control-Expose-Headers")?.split(",") ?? [];
    for (const name of [
      "Location",
      "ETag",
      "Upload-Offset",
      "Tus-Resumable",
      "X-Request-Id",
      "Content-Range",
    ])
      expect(exposed).toContain(name);
  });

  test.each([
    ["OPTIONS", "/uploads", "Accept-Patch"],
    ["OPTIONS", "/uploads", "Allow"],
    ["PUT", "/hello", "Allow"],
    ["POST", "/upload-file", "Accept-Post"],
    ["GET", "/fetch/demo/todos/1", "Server-Timing"],
  ])("that CORS_ORIGINS names can read what %s %s says in %s", async (method, path, name) => {
    const { response, settled } = await callWorker(path, { method, variables, headers: { Origin } });
    await response.text();
    await settled();
    expect(response.headers.has(name)).toBe(true);
    expect(response.headers.get("Access-Control-Expose-Headers")?.split(",")).toContain(name);
  });

  test("that CORS_ORIGINS names can also read that it needs a token", async () => {
    const { response } = await callWorker("/files", {
      site: "https://sluice.example.com",
      variables: { ...variables, ACCESS: "tokens" },
      headers: { Origin },
    });
    expect([response.status, response.headers.get("Access-Control-Allow-Origin")]).toEqual([401, Origin]);
  });

  test("is told what tus there is when its OPTIONS is no preflight", async () => {
    const { response } = await callWorker("/uploads", { method: "OPTIONS", variables, headers: { Origin } });
    expect([response.status, response.headers.get("Tus-Version"), cors(response)]).toEqual([
      204,
      "1.0.0",
      {
        "access-control-allow-origin": Origin,
        "access-control-expose-headers": expect.stringContaining("Tus-Version"),
      },
    ]);
  });

  test.each([
    ["another", "https://app.example.com.evil.example"],
    ["one without an origin", "null"],
  ])("that is not named, as %s, may nothing", async (_name, other) => {
    const asked = await callWorker("/files", {
      method: "OPTIONS",
      variables,
      headers: { ...preflight, Origin: other },
    });
    const got = await callWorker("/files", { variables, headers: { Origin: other } });
    expect([cors(asked.response), cors(got.response)]).toEqual([{}, {}]);
  });

  test("may nothing at all where CORS_ORIGINS is empty", async () => {
    const { response } = await callWorker("/files", { method: "OPTIONS", headers: preflight });
    expect(cors(response)).toEqual({});
  });
});
