/**
 * The API, described: `/openapi.json` (OpenAPI 3.1), and `/docs`, which shows it with Swagger UI. The script and the
 * style come from this Worker's own assets, so the page works with no internet and loads no other script.
 */
import { requireScopeWithin } from "../kernel/access.ts";
import { type ApiDocument, createRouter, describePage, pagePolicy, type Router } from "../kernel/app.ts";
import { servePage } from "../kernel/page.ts";
import { Problem } from "../kernel/problem.ts";
import { START_SCRIPT } from "./start-script.ts";

/** Swagger UI sets styles in its elements, and has images in its style. */
const POLICY = pagePolicy(
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
);

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice API</title>
<link rel="icon" href="/favicon.ico">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/style.css">
<header class="top">
  <a class="brand" href="/"><img src="/favicon.ico" alt="" width="28" height="28"> Sluice</a>
  <nav aria-label="Views">
    <a href="/">Start</a>
    <a href="/#/tasks">Tasks</a>
    <a href="/#/files">Files</a>
    <a href="/#/upstreams">Upstreams</a>
    <a href="/docs" aria-current="page">API</a>
  </nav>
</header>
<div id="reference"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
`;

/** The files that are served; scripts/build-pages.ts makes the first, and copies those of Swagger UI. */
export const ASSETS = new Set([
  "style.css",
  "swagger-ui.css",
  "swagger-ui-bundle.js",
  "swagger-ui-bundle.js.LICENSE.txt",
]);

/** `describe` gives the OpenAPI document of the whole application, as it is called under `origin`. */
export function createDocs(describe: (origin: string) => ApiDocument): Router {
  const openApi = servePage({ "Content-Type": "application/json" }, (origin) =>
    JSON.stringify(describe(origin)),
  );
  const page = servePage({ "Content-Type": "text/html; charset=UTF-8", ...POLICY }, () => PAGE);
  const docs = createRouter();
  docs.use("/docs/*", requireScopeWithin("read"));
  docs.openapi(
    describePage(
      { path: "/openapi.json", operationId: "getOpenApi", summary: "This document (OpenAPI 3.1)" },
      "application/json",
    ),
    async (c) => openApi(c.req.raw),
  );
  docs.openapi(
    describePage({ path: "/docs", operationId: "showDocs", summary: "The API reference, for people" }),
    async (c) => page(c.req.raw),
  );
  docs.get("/docs/start.js", (c) =>
    c.body(START_SCRIPT, 200, { "Content-Type": "text/javascript; charset=utf-8" }),
  );
  docs.get("/docs/:asset", async (c) => {
    const asset = c.req.param("asset");
    if (!ASSETS.has(asset)) throw new Problem("not-found", `There is nothing at ${c.req.path}.`);
    const response = await c.env.ASSETS.fetch(new URL(`/docs/${asset}`, c.req.url), c.req.raw);
    return new Response(response.body, response);
  });
  return docs;
}
