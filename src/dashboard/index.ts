/** `GET /`: an index of the routes, read off the OpenAPI document. */
import { html } from "hono/html";
import { createRouter, describePage, type Router } from "../kernel/app.ts";

type Document = ReturnType<Router["getOpenAPI31Document"]>;

const CSP = "default-src 'none'; style-src 'unsafe-inline'";

export function createDashboard(describe: () => Document): Router {
  const dashboard = createRouter();
  dashboard.openapi(describePage("/", "An index of the routes"), (c) =>
    c.html(page(describe()), 200, { "Content-Security-Policy": CSP }),
  );
  return dashboard;
}

function page(document: Document) {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sluice</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 46rem; margin: 3rem auto; padding: 0 1rem }
  table { border-collapse: collapse; width: 100% }
  td { padding: .35rem .75rem .35rem 0; border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); vertical-align: top }
  code { font-size: .95em; white-space: nowrap }
</style>
<h1>Sluice</h1>
<p>${document.info.description} <a href="/docs">API reference</a> · <a href="/openapi.json">OpenAPI document</a></p>
<table>
${routesOf(document).map(
  ({ method, path, summary }) => html`<tr><td><code>${method}</code><td>${
    method === "GET" && !path.includes("{")
      ? html`<a href="${path}"><code>${path}</code></a>`
      : html`<code>${path}</code>`
  }<td>${summary}</tr>
`,
)}</table>
</html>`;
}

function routesOf(document: Document) {
  return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      summary: operation.summary,
    })),
  );
}
