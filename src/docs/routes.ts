/**
 * The API, described: `/openapi.json` (OpenAPI 3.1), and `/docs`, which shows it with Swagger UI. The script and
 * style come from this Worker's own assets, so the page works with no internet and lets no other script in.
 */

import packageJson from "../../package.json";
import { requireScope } from "../kernel/access.ts";
import type { Router } from "../kernel/app.ts";
import { createRouter, describePage } from "../kernel/app.ts";
import { Problem } from "../kernel/problem.ts";

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'";

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sluice API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="reference"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
`;

const START_SCRIPT = `SwaggerUIBundle({ dom_id: "#reference", url: "/openapi.json", deepLinking: true, validatorUrl: null, tryItOutEnabled: true });\n`;

/** What of Swagger UI's package is served. */
const ASSETS = new Set(["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"]);

/** `describe` gives the OpenAPI document of the whole application. */
export function createDocs(describe: () => ReturnType<Router["getOpenAPI31Document"]>): Router {
  const docs = createRouter();
  docs.use("/docs/*", requireScope("read"));
  docs.openapi(describePage("/openapi.json", "This document (OpenAPI 3.1)", "application/json"), (c) =>
    c.json(describe()),
  );
  docs.openapi(describePage("/docs", "The API reference, for people"), (c) =>
    c.html(PAGE, 200, { "Content-Security-Policy": CSP }),
  );
  docs.get("/docs/start.js", (c) =>
    c.body(START_SCRIPT, 200, { "Content-Type": "text/javascript; charset=utf-8" }),
  );
  docs.get("/docs/:asset", async (c) => {
    const asset = c.req.param("asset");
    if (!ASSETS.has(asset)) throw new Problem("not-found", `There is nothing at ${c.req.path}.`);
    const response = await c.env.ASSETS.fetch(new URL(`/${asset}`, c.req.url), c.req.raw);
    return new Response(response.body, response);
  });
  return docs;
}

/** What the document says of the whole. */
export const INFO = {
  openapi: "3.1.0",
  info: {
    title: "Sluice",
    version: packageJson.version,
    description:
      "Background tasks, streamed files, and calls to other people's APIs under a limit the fleet shares.",
    license: { name: packageJson.license, identifier: packageJson.license },
  },
};
