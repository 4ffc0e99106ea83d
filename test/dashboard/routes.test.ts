import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { createDashboard } from "../../src/dashboard/index.ts";
import { createApp } from "../../src/kernel/app.ts";
import { callForJson, callWorker } from "../support/call.ts";

test("GET / is an index of every route in the OpenAPI document", async () => {
  const { response } = await callWorker("/");
  const page = await response.text();
  expect(response.headers.get("Content-Type")).toContain("text/html");
  const { body } = await callForJson("/openapi.json");
  for (const path of Object.keys(body.paths as object)) expect(page).toContain(`<code>${path}</code>`);
});

test("GET / begins with the four examples", async () => {
  const { response } = await callWorker("/");
  const page = await response.text();
  const first = page.slice(page.indexOf("<table>"), page.indexOf("</table>"));
  const paths = [...first.matchAll(/<a href="([^"]+)"/g)].map(([, path]) => path);
  expect(page.indexOf("<h2>Examples</h2>")).toBeLessThan(page.indexOf("<h2>Tasks</h2>"));
  expect(paths).toEqual(expect.arrayContaining(["/hello", "/run-tasks", "/data"]));
  expect(first).toContain("<code>/upload-file</code>");
});

test("GET / shows a tag that the document does not describe, and a route without one", async () => {
  const operation = (tags: string[]) => ({ get: { tags, summary: "<b>", responses: {} } });
  const dashboard = createDashboard((origin) => ({
    openapi: "3.1.0",
    info: { title: "T", version: "1", description: `At ${origin}.` },
    tags: [{ name: "Known", description: "Described." }],
    paths: { "/mine": operation(["Mine"]), "/none": operation([]), "/known": operation(["Known"]) },
  }));
  const app = createApp({ open: [], closed: [dashboard] });
  const page = await (await app.request("http://localhost/", {}, env)).text();
  const headings = [...page.matchAll(/<h2>(\w+)<\/h2>/g)].map(([, heading]) => heading);
  expect(headings).toEqual(["Known", "Mine", "Other"]);
  expect(page).toContain("At http://localhost.");
  expect(page).toContain("&lt;b&gt;");
});
