import { createExecutionContext, env } from "cloudflare:test";
import { createRoute, z } from "@hono/zod-openapi";
import { describe, expect, test } from "vitest";
import { describeApi } from "../../src/docs/index.ts";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { callForJson, callWorker } from "../support/call.ts";
import { putFile } from "../support/files.ts";
import { submitted } from "../support/submissions.ts";

interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  security?: { token: string[] }[];
  parameters?: { in: string; name: string }[];
  requestBody?: {
    content: Record<string, { example?: unknown; schema?: { $ref?: string; example?: unknown } }>;
  };
  responses: Record<string, { description?: string }>;
}

/** The operations of Sluice itself, in the order of the document. Those of a user have tags of their own. */
async function readOperations() {
  const { body } = await callForJson("/openapi.json");
  const tags = new Set((body.tags as { name: string }[]).map(({ name }) => name));
  return Object.entries(body.paths as Record<string, Record<string, Operation>>)
    .flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
    )
    .filter(({ operation }) => operation.tags?.some((tag) => tags.has(tag)));
}

describe("the OpenAPI document", () => {
  test("names every route of Sluice", async () => {
    const fetched = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].map(
      (method) => `${method} /fetch/{upstream}/{path}`,
    );
    const named = (await readOperations()).map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(named).toEqual(
      expect.arrayContaining([
        ...fetched,
        "DELETE /files/{id}",
        "DELETE /schedules/{id}",
        "DELETE /tasks/{id}",
        "DELETE /uploads/{id}",
        "GET /",
        "GET /data",
        "GET /docs",
        "GET /favicon.ico",
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

  test("begins with the four examples, and has the tags in their order", async () => {
    const { body } = await callForJson("/openapi.json");
    const tags = body.tags as { name: string; description: string }[];
    expect(tags.map(({ name }) => name)).toEqual([
      "Examples",
      "Tasks",
      "Files",
      "Resumable uploads",
      "Outbound",
      "Service",
    ]);
    for (const { description } of tags) expect(description).toMatch(/\.$/);
    const examples = (await readOperations()).filter(({ operation }) => operation.tags?.[0] === "Examples");
    const paths = [...new Set(examples.map(({ path }) => path))];
    const ours = ["/hello", "/run-tasks", "/upload-file", "/data"];
    expect(paths.filter((path) => ours.includes(path))).toEqual(ours);
  });

  test("names, describes and tags each operation, under an operationId of its own", async () => {
    const operations = await readOperations();
    for (const { path, method, operation } of operations)
      expect([method, path, operation]).toMatchObject([
        method,
        path,
        {
          operationId: expect.stringMatching(/^[a-z][a-zA-Z]+$/),
          summary: expect.any(String),
          tags: [expect.any(String)],
        },
      ]);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(ids).toEqual([...new Set(ids)]);
  });

  test("describes each response", async () => {
    for (const { path, method, operation } of await readOperations())
      for (const [status, { description }] of Object.entries(operation.responses))
        expect([method, path, status, description]).toEqual([
          method,
          path,
          status,
          expect.stringMatching(/./),
        ]);
  });

  test("declares each parameter that a path has", async () => {
    for (const { path, method, operation } of await readOperations()) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => String(name));
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
      expect([method, path, declared.map(({ name }) => name).toSorted()]).toEqual([
        method,
        path,
        inPath.toSorted(),
      ]);
    }
  });

  test("has an example of each JSON body, which the route accepts as it is", async () => {
    const { body } = await callForJson("/openapi.json");
    const { schemas } = body.components as { schemas: Record<string, { example?: unknown }> };
    const variables = { LINK_KEYS: "a-key-of-the-tests-with-32-characters" };
    await putFile("hello.txt", "hello");
    const waiting = await submitted({ type: "task_a", delay: 3600 });
    let seen = 0;
    for (const { path, method, operation } of await readOperations()) {
      const json = operation.requestBody?.content["application/json"];
      if (!json || path === "/session") continue; // no token stands in the document
      const schema = schemas[json.schema?.$ref?.split("/").at(-1) ?? ""] ?? json.schema;
      const example = json.example ?? schema?.example;
      const { status, body: made } = await callForJson(
        path
          .replace("/tasks/{id}", `/tasks/${waiting}`)
          .replace("{id}", "hello.txt")
          .replace("types/{name}", "types/task_a")
          .replace("{name}", "demo"),
        {
          method: method.toUpperCase(),
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(example),
          variables,
        },
      );
      expect([method, path, example, status]).toEqual([
        method,
        path,
        expect.anything(),
        expect.toSatisfy((code: number) => code < 300),
      ]);
      if (path === "/schedules") await callWorker(`/schedules/${String(made.id)}`, { method: "DELETE" });
      seen++;
    }
    expect(seen).toBeGreaterThanOrEqual(5);
  });

  test("has no open operation that asks for a token", async () => {
    const open = (await readOperations()).filter(({ operation }) => operation.security?.length === 0);
    expect(open.map(({ path }) => path)).toContain("/files/{id}/links/{token}");
    // Signing in takes one in its body.
    for (const { path, operation } of open.filter((candidate) => candidate.path !== "/session"))
      expect([path, Object.keys(operation.responses)]).toEqual([path, expect.not.arrayContaining(["401"])]);
  });

  test("gives each closed operation its scope, and the responses 401 and 403", async () => {
    for (const { path, method, operation } of await readOperations()) {
      if (operation.security?.length === 0) continue;
      const scopes = operation.security?.[0]?.token ?? [];
      // About the caller alone.
      const needsScope = !/^\/sessions?$/.test(path);
      expect([method, path, scopes.length > 0 || !needsScope, operation.security]).toEqual([
        method,
        path,
        true,
        [{ token: scopes.filter((scope) => ["read", "write", "admin"].includes(scope)) }],
      ]);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(["401", "403"]));
    }
  });

  test("gives every operation that takes JSON the responses 400, 413, 415 and 422", async () => {
    const takers = (await readOperations()).filter(({ operation }) => {
      const { content = {} } = (operation.requestBody ?? {}) as { content?: object };
      return "application/json" in content;
    });
    expect(takers.length).toBeGreaterThanOrEqual(5);
    for (const { path, method, operation } of takers) {
      const statuses = ["400", "413", "415", "422"];
      expect([method, path, Object.keys(operation.responses)]).toEqual([
        method,
        path,
        expect.arrayContaining(statuses),
      ]);
    }
  });

  test("gives the routes of tasks and schedules the response 503, and those that take JSON 400, 413, 415 and 422", async () => {
    const routes = (await readOperations()).filter(({ path }) => /^\/(tasks|schedules)(\/|$)/.test(path));
    expect(routes.length).toBeGreaterThanOrEqual(12);
    for (const { path, method, operation } of routes) {
      const takesJson = operation.requestBody !== undefined;
      const statuses = takesJson ? ["400", "413", "415", "422", "503"] : ["503"];
      expect([method, path, Object.keys(operation.responses)]).toEqual([
        method,
        path,
        expect.arrayContaining(statuses),
      ]);
    }
    const taking = routes.filter(({ operation }) => operation.requestBody !== undefined);
    expect(taking.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["/schedules", "/tasks", "/tasks/retry"]),
    );
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

describe("a default", () => {
  const body = z
    .object({
      count: z.int().default(3).meta({ description: "How many." }),
      default: z.string(),
      options: z.object({ fast: z.boolean().default(false) }).optional(),
      list: z.array(z.union([z.string().default("a"), z.number()])),
    })
    .meta({ id: "Scratch" });
  const router = createRouter().openapi(
    createRoute({
      method: "post",
      path: "/scratch",
      request: {
        query: z.object({ limit: z.coerce.number().default(50) }),
        body: { content: { "application/json": { schema: body, example: { default: "x" } } } },
      },
      responses: { default: { description: "Anything." } },
    }),
    (c) => c.text(""),
  );
  const app = createApp({ open: [router], closed: [] });
  const document = describeApi(() => app)("http://localhost");

  test("moves from a member of a body into its description", () => {
    const scratch = document.components?.schemas?.Scratch;
    expect(scratch).toMatchObject({
      required: ["default", "list"],
      properties: {
        count: { type: "integer", description: "How many. Default: `3`." },
        options: { properties: { fast: { type: "boolean", description: "Default: `false`." } } },
        list: { items: { anyOf: [{ type: "string", description: 'Default: `"a"`.' }, { type: "number" }] } },
      },
    });
    expect(JSON.stringify(scratch).match(/"default":/g)).toEqual(['"default":']);
  });

  test("stays in a parameter, and nothing else of that name is touched", () => {
    expect(document.paths?.["/scratch"]?.post).toMatchObject({
      parameters: [{ name: "limit", required: false, schema: { default: 50 } }],
      requestBody: { content: { "application/json": { example: { default: "x" } } } },
      responses: { default: { description: "Anything." } },
    });
  });

  test("does not change what the route accepts", async () => {
    const headers = { "Content-Type": "application/json" };
    const send = (value: object) => {
      const request = { method: "POST", headers, body: JSON.stringify(value) };
      return app.request("/scratch", request, env, createExecutionContext());
    };
    expect((await send({ default: "x", list: [] })).status).toBe(200);
    expect((await send({ list: [] })).status).toBe(422);
  });
});
