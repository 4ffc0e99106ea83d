import { expect, test } from "vitest";
import { callWorker } from "../support/call.ts";

const TOKENS_ONLY = {
  variables: { ACCESS: "tokens", SLUICE_TOKENS: [] },
  site: "https://sluice.example.com",
};

test("GET / is open, and names only what this Worker serves", async () => {
  const { response } = await callWorker("/", TOKENS_ONLY);
  const page = await response.text();
  expect([response.status, response.headers.get("Content-Type")]).toEqual([200, "text/html; charset=UTF-8"]);
  const links = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => String(link));
  expect(links).toEqual(expect.arrayContaining(["/app/main.js", "/app/style.css", "/docs", "/openapi.json"]));
  for (const link of links.filter((path) => path.startsWith("/app/"))) {
    const asset = await callWorker(link, TOKENS_ONLY);
    expect([link, asset.response.status]).toEqual([link, 200]);
    expect((await asset.response.arrayBuffer()).byteLength).toBeGreaterThan(20);
  }
});

test("its policy lets no script run but its own files", async () => {
  const { response } = await callWorker("/");
  await response.text();
  const policy = response.headers.get("Content-Security-Policy");
  expect(policy).toContain("script-src 'self';");
  expect(policy).toContain("style-src 'self';");
  expect(policy).not.toContain("unsafe");
});

test.each([
  "/app/",
  "/app/none.js",
  "/app/..%2Fdocs%2Fswagger-ui.css",
  "/app/swagger-ui.css",
  "/app/main.js.map",
  "/app/.hidden.js",
])("there is nothing at %s", async (path) => {
  const { response } = await callWorker(path);
  await response.text();
  expect(response.status).toBe(404);
});
