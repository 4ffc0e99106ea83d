import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json } from "./app.ts";

/** `GET /healthz`: this Worker runs and its configuration is sound. Open to anybody, and says nothing else. */
export const health = createRouter();

health.openapi(
  createRoute({
    method: "get",
    path: "/healthz",
    tags: ["Service"],
    summary: "Health",
    responses: { 200: json("The Worker answers.", z.object({ status: z.literal("ok") })) },
  }),
  (c) => c.json({ status: "ok" as const }, 200, { "Cache-Control": "no-store" }),
);
