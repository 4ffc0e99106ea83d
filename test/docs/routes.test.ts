import { describe, expect, test } from "vitest";
import { callForJson, callWorker } from "../support/call.ts";

interface Operation {
  summary?: string;
  security?: { token: string[] }[];
  requestBody?: unknown;
  responses: Record<string, unknown>;
}

const operations = async () => {
  const { body } = await callForJson("/openapi.json");
  return Object.entries(body.paths as Record<string, Record<string, Operation>>).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );
};

describe("the OpenAPI document", () => {
  test("is of version 3.1 and names every route there is", async () => {
    const { body } = await callForJson("/openapi.json");
    expect(body.openapi).toBe("3.1.0");
    const fetched = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].map(
      (method) => `${method} /fetch/{upstream}/{path}`,
    );
    const named = (await operations()).map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(new Set(named)).toEqual(
      new Set([
        ...fetched,
        "DELETE /files/{id}",
        "DELETE /schedules/{id}",
        "DELETE /tasks/{id}",
        "DELETE /uploads/{id}",
        "GET /",
        "GET /data",
        "GET /docs",
        "GET /files",
        "GET /files/{id}",
        "GET /files/{id}/links/{token}",
        "GET /healthz",
        "GET /hello",
        "GET /openapi.json",
        "GET /run-tasks",
        "GET /schedules",
        "GET /schedules/{id}",
        "GET /task-types",
        "GET /tasks",
        "GET /tasks/{id}",
        "GET /tasks/{id}/events",
        "GET /uploads/{id}",
        "GET /upstreams",
        "GET /upstreams/{name}",
        "GET /upstreams/{name}/events",
        "OPTIONS /uploads",
        "OPTIONS /uploads/{id}",
        "PATCH /uploads/{id}",
        "PATCH /upstreams/{name}",
        "POST /files",
        "POST /files/{id}/links",
        "POST /run-tasks",
        "POST /schedules",
        "POST /tasks",
        "POST /tasks/retry",
        "POST /tasks/{id}/cancel",
        "POST /tasks/{id}/retry",
        "POST /upload-file",
        "POST /uploads",
        "POST /uploads/{id}",
        "PUT /files/{id}",
      ]),
    );
  });

  test("tells for each closed route its scope, and that it can answer 401 and 403", async () => {
    for (const { path, method, operation } of await operations()) {
      expect([path, operation.summary]).toEqual([path, expect.any(String)]);
      // For anybody: a link is its own token, and what is spoken here is no secret.
      const isOpen = ["/healthz", "/files/{id}/links/{token}"].includes(path);
      if (isOpen || (method === "options" && path.startsWith("/uploads"))) {
        expect(operation.security).toBeUndefined();
        continue;
      }
      expect(operation.security).toEqual([{ token: [expect.stringMatching(/^(read|write|admin)$/)] }]);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(["401", "403"]));
    }
  });

  test("tells that every route of tasks and schedules can answer 503, and those that take JSON 400, 413, 415 and 422", async () => {
    const routes = (await operations()).filter(({ path }) => /^\/(tasks|schedules)(\/|$)/.test(path));
    expect(routes).toHaveLength(12);
    for (const { path, method, operation } of routes) {
      const takesJson = operation.requestBody !== undefined;
      const answers = takesJson ? ["400", "413", "415", "422", "503"] : ["503"];
      expect([method, path, Object.keys(operation.responses)]).toEqual([
        method,
        path,
        expect.arrayContaining(answers),
      ]);
    }
    const taking = routes.filter(({ operation }) => operation.requestBody !== undefined);
    expect(taking.map(({ path }) => path).toSorted()).toEqual(["/schedules", "/tasks", "/tasks/retry"]);
  });

  test("has no reference that leads nowhere", async () => {
    const { body } = await callForJson("/openapi.json");
    const text = JSON.stringify(body);
    const references = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)];
    expect(references.length).toBeGreaterThan(10);
    for (const [, name] of references) {
      expect(body).toHaveProperty(["components", "schemas", String(name)]);
    }
  });
});

describe("/docs", () => {
  test("loads nothing but what this Worker serves", async () => {
    const { response } = await callWorker("/docs");
    const page = await response.text();
    const links = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => String(link));
    expect(links.length).toBeGreaterThan(2);
    for (const link of links) {
      expect(link).toMatch(/^\/docs\//);
      const asset = await callWorker(link);
      expect([link, asset.response.status]).toEqual([link, 200]);
      expect((await asset.response.arrayBuffer()).byteLength).toBeGreaterThan(50);
    }
    expect(response.headers.get("Content-Security-Policy")).toContain("script-src 'self';");
  });

  test.each([
    "/docs/index.html",
    "/docs/package.json",
    "/docs/..%2Fpackage.json",
    "/index.html",
    "/swagger-ui.css",
  ])("%s is not served: of the package, only what the page needs", async (path) => {
    expect((await callForJson(path)).status).toBe(404);
  });
});
