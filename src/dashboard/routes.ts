/**
 * `GET /`: the dashboard, and its files below `/app`. They are open: they hold no data, and who is not signed in must be
 * able to sign in. Everything that the page shows, it asks for with the caller's own rights.
 */
import { createRoute } from "@hono/zod-openapi";
import { createRouter, pagePolicy } from "../kernel/app.ts";
import { servePage } from "../kernel/page.ts";
import { Problem } from "../kernel/problem.ts";

/** Previews of files are images and media of this origin, or frames that may do nothing; tus-js-client reads blobs. */
const POLICY = pagePolicy(
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "media-src 'self' blob:",
  "frame-src 'self' blob:",
  "connect-src 'self'",
);

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice</title>
<link rel="icon" href="/favicon.ico">
<link rel="stylesheet" href="/app/style.css">
<script type="module" src="/app/main.js"></script>
<div id="app"></div>
<noscript>
  <h1>Sluice</h1>
  <p>The dashboard needs JavaScript. <a href="/docs">API reference</a> · <a href="/openapi.json">OpenAPI document</a></p>
</noscript>
</html>
`;

const page = servePage({ "Content-Type": "text/html; charset=UTF-8", ...POLICY }, () => PAGE);

/** A name that changes with what it holds. */
const HASHED_NAME = /-[A-Z0-9]{8}\.(?:js|css)$/;
const ASSET_NAME = /^[\w-]+(?:\.[\w-]+)*\.(?:js|css)$/;

export const dashboard = createRouter().openapi(
  createRoute({
    method: "get",
    path: "/",
    operationId: "showDashboard",
    tags: ["Service"],
    summary: "The dashboard",
    security: [],
    responses: {
      200: { description: "A page.", content: { "text/html": { schema: { type: "string" } } } },
      304: { description: "The client has it: `If-None-Match` has its ETag." },
    },
  }),
  async (c) => page(c.req.raw),
);

dashboard.get("/app/:asset", async (c) => {
  const asset = c.req.param("asset");
  const found = ASSET_NAME.test(asset)
    ? await c.env.ASSETS.fetch(new URL(`/app/${asset}`, c.req.url), c.req.raw)
    : undefined;
  if (!found || found.status === 404) throw new Problem("not-found", `There is nothing at ${c.req.path}.`);
  const response = new Response(found.body, found);
  if (HASHED_NAME.test(asset)) response.headers.set("Cache-Control", "public, max-age=31536000, immutable");
  return response;
});
