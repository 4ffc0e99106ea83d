import { createExecutionContext, env } from "cloudflare:test";
import { createRoute } from "@hono/zod-openapi";
import { expect, test } from "vitest";
import { z } from "zod";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { cursorParam, emptyIsAbsent, pageSize } from "../../src/kernel/query.ts";

const route = createRoute({
  method: "get",
  path: "/entries",
  request: {
    query: z.object({
      limit: pageSize(500, 50),
      cursor: cursorParam(),
      kind: emptyIsAbsent(z.enum(["a", "b"])),
    }),
  },
  responses: { 200: { description: "What was read." } },
});
const router = createRouter().openapi(route, (c) => c.json(c.req.valid("query")));
const app = createApp({ open: [router], closed: [] });

async function read(query: string) {
  const response = await app.fetch(
    new Request(`http://localhost/entries${query}`),
    env,
    createExecutionContext(),
  );
  return { status: response.status, body: await response.json<{ errors?: { at: string }[] }>() };
}

test.each([
  ["", { limit: 50 }],
  ["?", { limit: 50 }],
  ["?limit=&cursor=&kind=", { limit: 50 }],
  ["?limit&cursor&kind", { limit: 50 }],
  ["?limit=1", { limit: 1 }],
  ["?limit=500", { limit: 500 }],
  ["?limit=007", { limit: 7 }],
  ["?limit=3&cursor=abc&kind=b", { limit: 3, cursor: "abc", kind: "b" }],
  ["?limit=&limit=&cursor=&cursor=&kind=&kind=", { limit: 50 }],
  ["?kind=&kind=b&limit=4&limit=", { limit: 4, kind: "b" }],
])("%s is read", async (query, wanted) => {
  expect(await read(query)).toEqual({ status: 200, body: wanted });
});

test.each([
  ["?limit=0", "limit"],
  ["?limit=501", "limit"],
  ["?limit=99999999999999999999999", "limit"],
  ["?limit=0x10", "limit"],
  ["?limit=1e2", "limit"],
  ["?limit=1.0", "limit"],
  ["?limit=%205", "limit"],
  ["?limit=+5", "limit"],
  ["?limit=-5", "limit"],
  ["?limit=%D9%A5", "limit"],
  ["?limit=Infinity", "limit"],
  ["?limit=5&limit=6", "limit"],
  ["?kind=a&kind=a", "kind"],
  ["?cursor=a&cursor=b&cursor=c", "cursor"],
  ["?kind=c", "kind"],
  ["?kind=%20", "kind"],
  [`?cursor=${"x".repeat(201)}`, "cursor"],
])("%s is a 422 that names the parameter", async (query, name) => {
  const { status, body } = await read(query);
  expect([status, body.errors?.map(({ at }) => at)]).toEqual([422, [`query/${name}`]]);
});

test("the document shows what the parameters are, and that none is required", () => {
  const document = app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "", version: "" } });
  const parameters = document.paths?.["/entries"]?.get?.parameters;
  expect(parameters).toEqual([
    expect.objectContaining({
      name: "limit",
      required: false,
      schema: expect.objectContaining({ type: "integer", minimum: 1, maximum: 500 }),
    }),
    expect.objectContaining({ name: "cursor", required: false }),
    expect.objectContaining({ name: "kind", schema: { type: "string", enum: ["a", "b"] } }),
  ]);
});
