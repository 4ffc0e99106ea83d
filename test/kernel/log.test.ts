import { createExecutionContext, env } from "cloudflare:test";
import { expect, test } from "vitest";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { errorFields, log } from "../../src/kernel/log.ts";
import { captureLogs } from "../support/call.ts";

const SECRET = "hunter2";

test("a 500 on the path of a link is logged without the link's token", async () => {
  const router = createRouter();
  router.get("/files/:id/links/:token", () => {
    throw new Error("broken");
  });
  const app = createApp({ open: [router], closed: [] });
  for (const path of [
    `/files/a/links/1.${SECRET}`,
    `/files/a/%6cinks/1.${SECRET}`,
    `/files/a/links/1.${SECRET}/`,
  ]) {
    const request = new Request(`http://localhost${path}?key=${SECRET}`);
    const { lines } = await captureLogs(async () => app.fetch(request, env, createExecutionContext()));
    expect(lines).toHaveLength(1);
    expect(lines[0]?.path).toBe("/files/a/links/…");
    expect(JSON.stringify(lines)).not.toContain(SECRET);
  }
});

test.each([
  ["in a field", () => log("info", "called", { url: `https://api.example.com/v1?key=${SECRET}` })],
  ["in the message", () => log("info", `called https://me:${SECRET}@api.example.com/`)],
  ["in a list", () => log("info", "called", { urls: [{ at: `https://api.example.com/#${SECRET}` }] })],
  [
    "in an error",
    () => log("warn", "failed", errorFields(new Error(`no https://api.example.com/?${SECRET}`))),
  ],
  [
    "in its cause",
    () =>
      log(
        "warn",
        "failed",
        errorFields(new Error("x", { cause: new Error(`https://a.example/?${SECRET}`) })),
      ),
  ],
])("the secret of a URL %s is not logged", async (_name, write) => {
  const { lines } = await captureLogs(async () => write());
  expect(lines).toHaveLength(1);
  expect(JSON.stringify(lines)).not.toContain(SECRET);
  expect(JSON.stringify(lines)).toContain("example");
});
