/**
 * `GET /metrics`: what the objects count, for a scraper. A scrape costs one call for each object that exists, and what it
 * finds is kept for `MAX_AGE_MS` in the isolate, however many scrape.
 */
import { createRoute } from "@hono/zod-openapi";
import { createRouter, needs, problems, type Router } from "../kernel/app.ts";
import { CONTENT_TYPES, type Family, negotiate, render } from "./exposition.ts";
import { readFamilies } from "./read-families.ts";

const MAX_AGE_MS = 10_000;
const kept = new WeakMap<Env, { readAtMs: number; families: Family[] }>();

const text = { schema: { type: "string" as const } };

const metricsRoute = createRoute({
  operationId: "getMetrics",
  method: "get",
  path: "/metrics",
  tags: ["Service"],
  summary: "Metrics, for Prometheus and others that read its format",
  description:
    "OpenMetrics 1.0 if `Accept` names it, else the text format 0.0.4. The token may be the password of Basic. " +
    "Not older than ten seconds.",
  ...needs("read"),
  responses: {
    200: {
      description: "The metrics.",
      content: { [CONTENT_TYPES.openmetrics]: text, [CONTENT_TYPES.text]: text },
    },
    ...problems(),
  },
});

/** `version`: of Sluice. */
export function createMetrics(version: string): Router {
  const router = createRouter();
  router.openapi(metricsRoute, async (c) => {
    const format = negotiate(c.req.header("Accept"));
    const headers = { "Content-Type": CONTENT_TYPES[format], "Cache-Control": "no-store", Vary: "Accept" };
    return new Response(render(await recentFamilies(c.env, version), format), { headers });
  });
  return router;
}

/** Only what is there is shared, not the work: one request cannot wait for the calls of another. */
async function recentFamilies(env: Env, version: string): Promise<Family[]> {
  const before = kept.get(env);
  if (before && Date.now() - before.readAtMs < MAX_AGE_MS) return before.families;
  const families = await readFamilies(env, version);
  kept.set(env, { readAtMs: Date.now(), families });
  return families;
}
