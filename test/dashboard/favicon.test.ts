import { expect, test } from "vitest";
import { callWorker } from "../support/call.ts";

test("GET /favicon.ico is an SVG that needs no token and is cached", async () => {
  const { response } = await callWorker("/favicon.ico", {
    site: "https://sluice.example.com",
    variables: { ACCESS: "tokens" },
  });
  expect([response.status, response.headers.get("Content-Type")]).toEqual([200, "image/svg+xml"]);
  expect(response.headers.get("Cache-Control")).toMatch(/public, max-age=\d{4,}/);
  expect(await response.text()).toMatch(/^<svg [\s\S]*<\/svg>\s*$/);
});
