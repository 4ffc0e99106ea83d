import { createExecutionContext, env } from "cloudflare:test";
import { createRoute } from "@hono/zod-openapi";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { callForJson, callWorker, captureLogs } from "../support/call.ts";

const UUID = /^[0-9a-f-]{36}$/;

test("every response carries its request id, whatever its kind", async () => {
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

test("a well-formed request id from the caller is kept; any other is replaced", async () => {
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
])("%s %s is a 405 that names the allowed methods", async (method, path, allow) => {
  const { status, headers, body } = await callForJson(path, { method });
  expect(status).toBe(405);
  expect(headers.get("Allow")).toBe(allow);
  expect(body).toMatchObject({
    type: "urn:sluice:problem:method-not-allowed",
    detail: `${method} is not allowed here. Allowed: ${allow}.`,
  });
});

test("OPTIONS is answered with the allowed methods", async () => {
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

test("a bug is a bare 500, and one line in the log has all of it, under the request id", async () => {
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

test("a 415 names the media types that its route takes, and only those", async () => {
  const { router, route } = scratchRoutes();
  const app = createApp({ open: [router], closed: [] });
  const send = async (path: string, contentType: string) => {
    const headers = { "Content-Type": contentType };
    const request = new Request(`http://localhost${path}`, { method: "POST", headers, body: "x" });
    return app.fetch(request, env, createExecutionContext());
  };
  for (const path of [route.json, route.form]) {
    const response = await send(path, "text/plain");
    const { type, detail } = await response.json<Record<string, string>>();
    const wanted = path === route.json ? "application/json" : "multipart/form-data";
    expect([response.status, type, detail]).toEqual([
      415,
      "urn:sluice:problem:unsupported-media",
      `Send the body with the Content-Type ${wanted}.`,
    ]);
  }
});

/** Two routes with the same method, one of them with a parameter in its path. */
function scratchRoutes() {
  const routeOf = (path: string, mediaType: string) =>
    createRoute({
      method: "post",
      path,
      request: {
        body: { required: true, content: { [mediaType]: { schema: z.object({ a: z.string() }) } } },
      },
      responses: { 200: { description: "Never." } },
    });
  const router = createRouter()
    .openapi(routeOf("/scratch/{id}/json", "application/json"), (c) => c.body(null))
    .openapi(routeOf("/scratch/form", "multipart/form-data"), (c) => c.body(null));
  return { router, route: { json: "/scratch/1/json", form: "/scratch/form" } };
}

describe("a slash at the end of a path is as good as none:", () => {
  test.each([
    ["GET", "/hello/", 200],
    ["GET", "/docs/", 200],
    ["GET", "/openapi.json/", 200],
    ["GET", "/files/", 200],
    ["GET", "/files/none/", 404],
    ["GET", "/tasks/", 200],
    ["GET", "/task-types/", 200],
    ["GET", "/schedules/", 200],
    ["GET", "/upstreams/", 200],
    ["GET", "/upstreams/demo/", 200],
    ["OPTIONS", "/uploads/", 200],
    ["PATCH", "/hello/", 405],
  ])("%s %s", async (method, path, status) => {
    const { response } = await callWorker(path, { method });
    await response.body?.cancel();
    const { response: without } = await callWorker(path.slice(0, -1), { method });
    await without.body?.cancel();
    expect([response.status, without.status]).toEqual([status, status]);
  });

  test("but not a path of an upstream, where it may mean something", async () => {
    const { response } = await callWorker("/fetch/demo/todos/");
    expect(response.status).toBeLessThan(500);
  });
});

test("Allow names each method once", async () => {
  for (const path of ["/uploads", "/uploads/x", "/files", "/tasks", "/hello"]) {
    for (const method of ["OPTIONS", "PROPFIND"]) {
      const { response } = await callWorker(path, { method });
      const methods = response.headers.get("Allow")?.split(", ") ?? [];
      expect([path, method, methods]).toEqual([path, method, [...new Set(methods)]]);
      expect(methods).toContain("OPTIONS");
    }
  }
});
