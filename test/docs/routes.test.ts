import { describe, expect, test } from "vitest";
import { ASSETS } from "../../src/docs/routes.ts";
import { callForJson, callWorker } from "../support/call.ts";

test("/openapi.json names the server that it was read from", async () => {
  for (const site of ["http://localhost", "http://127.0.0.1:9000"]) {
    const { body } = await callForJson("/openapi.json", { site });
    expect([body.openapi, body.servers]).toMatchObject(["3.1.0", [{ url: site }]]);
  }
});

test.each(["/", "/docs", "/docs/"])(
  "the policy of %s leaves nothing open that it does not need",
  async (path) => {
    const { response } = await callWorker(path);
    await response.text();
    const directives = response.headers.get("Content-Security-Policy")?.split("; ") ?? [];
    // default-src does not cover the others.
    for (const name of ["default-src", "base-uri", "form-action", "frame-ancestors"])
      expect(directives).toContain(`${name} 'none'`);
    for (const directive of directives)
      expect(directive).not.toMatch(/\*|https?:|'unsafe-eval'|script-src.*'unsafe/);
    expect(response.headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(response.headers.get("Referrer-Policy")).toBe("no-referrer");
  },
);

test("the files of Swagger UI are served, with nothing else of its package", async () => {
  for (const name of ASSETS) {
    const { response } = await callWorker(`/docs/${name}`);
    expect([name, response.status]).toEqual([name, 200]);
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(1000);
  }
  const { response } = await callWorker("/docs/package.json");
  await response.text();
  expect(response.status).toBe(404);
});

describe("/docs", () => {
  test("loads only what this Worker serves", async () => {
    const { response } = await callWorker("/docs");
    const page = await response.text();
    // A link to another page loads nothing.
    const links = [...page.matchAll(/<(?!a )\w+ [^>]*(?:src|href)="([^"]+)"/g)].map(([, link]) =>
      String(link),
    );
    expect(links.length).toBeGreaterThan(4);
    for (const link of links) {
      expect(link).toMatch(/^\/(docs\/|favicon\.ico$)/);
      const asset = await callWorker(link);
      expect([link, asset.response.status]).toEqual([link, 200]);
      expect((await asset.response.arrayBuffer()).byteLength).toBeGreaterThan(50);
    }
    expect(response.headers.get("Content-Security-Policy")).toContain("script-src 'self';");
    expect(page).not.toMatch(/<script(?! src=)|<style| style=| on\w+=/);
  });

  test.each([
    "/docs/index.html",
    "/docs/package.json",
    "/docs/..%2Fpackage.json",
    "/index.html",
    "/swagger-ui.css",
  ])("%s is not served: only the files of the package that the page needs are", async (path) => {
    expect((await callForJson(path)).status).toBe(404);
  });
});
