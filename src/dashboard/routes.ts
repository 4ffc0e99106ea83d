/** `GET /`: an index of the routes, read from the OpenAPI document, in the order of its tags. */
import { html } from "hono/html";
import { type ApiDocument, createRouter, describePage, pagePolicy, type Router } from "../kernel/app.ts";
import { servePage } from "../kernel/page.ts";

const POLICY = pagePolicy("style-src 'unsafe-inline'", "img-src 'self'");

/** `describe` gives the OpenAPI document of the whole application, as it is called under `origin`. */
export function createDashboard(describe: (origin: string) => ApiDocument): Router {
  const show = servePage({ "Content-Type": "text/html; charset=UTF-8", ...POLICY }, async (origin) =>
    String(await page(describe(origin))),
  );
  return createRouter().openapi(
    describePage({ path: "/", operationId: "showIndex", summary: "An index of the routes" }),
    async (c) => show(c.req.raw),
  );
}

function page(document: ApiDocument) {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sluice</title>
<link rel="icon" href="/favicon.ico">
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 50rem; margin: 3rem auto; padding: 0 1rem }
  header { display: flex; align-items: center; gap: .75rem }
  h1 { margin: 0 }
  h2 { margin: 2rem 0 0; font-size: 1.1rem }
  h2 + p { margin: 0 0 .5rem; opacity: .75 }
  table { border-collapse: collapse; width: 100% }
  td { padding: .35rem .75rem .35rem 0; border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); vertical-align: top }
  td:nth-child(1) { width: 4.5rem }
  td:nth-child(2) { width: 17rem }
  code { font-size: .95em; white-space: nowrap }
</style>
<header><img src="/favicon.ico" alt="" width="40" height="40"><h1>Sluice</h1></header>
<p>${document.info.description}</p>
<p><a href="/docs">API reference</a> · <a href="/openapi.json">OpenAPI document</a></p>
${sectionsOf(document).map(
  ({ name, description, operations }) => html`<h2>${name}</h2>
<p>${description}</p>
<table>
${operations.map(row)}</table>
`,
)}</html>`;
}

/** The tags in the document's order, then those that it does not describe. */
function sectionsOf(document: ApiDocument) {
  const byTag = Map.groupBy(operationsOf(document), ({ tag }) => tag);
  const described = new Map(document.tags?.map(({ name, description = "" }) => [name, description]));
  return [...new Set([...described.keys(), ...byTag.keys()])].map((name) => ({
    name,
    description: described.get(name) ?? "",
    operations: byTag.get(name) ?? [],
  }));
}

function row({ method, path, summary }: ReturnType<typeof operationsOf>[number]) {
  const isLink = method === "GET" && !path.includes("{");
  const shown = html`<code>${path}</code>`;
  return html`<tr><td><code>${method}</code><td>${isLink ? html`<a href="${path}">${shown}</a>` : shown}<td>${summary}
`;
}

function operationsOf(document: ApiDocument) {
  return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    Object.entries(item).map(([method, { summary, tags }]) => ({
      path,
      method: method.toUpperCase(),
      summary,
      tag: tags?.[0] ?? "Other",
    })),
  );
}
