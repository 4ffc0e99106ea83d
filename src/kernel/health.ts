import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json } from "./app.ts";

/** `GET /healthz`: this Worker runs and its configuration is valid. It is open to anybody, and says nothing else. */
export const health = createRouter().openapi(
  createRoute({
    method: "get",
    path: "/healthz",
    operationId: "getHealth",
    tags: ["Service"],
    summary: "Health",
    security: [],
    responses: { 200: json("The Worker responds.", z.object({ status: z.literal("ok") })) },
  }),
  (c) => c.json({ status: "ok" as const }, 200, { "Cache-Control": "no-store" }),
);
