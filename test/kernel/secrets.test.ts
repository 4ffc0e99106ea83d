import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { z } from "zod";
import { Problem } from "../../src/kernel/problem.ts";
import { checkSecrets, isPlaceholder, perEnvSecret } from "../../src/kernel/secrets.ts";
import { readVariable } from "../../src/kernel/variables.ts";
import { captureLogs } from "../support/call.ts";

const read = perEnvSecret("A_SECRET", (from) => readVariable(from, "A_SECRET", z.string().min(8)));
const using = (A_SECRET: unknown): Env => Object.assign({}, env, { A_SECRET });

test("a good secret is read", () => {
  expect(read(using("long enough"))).toBe("long enough");
});

test("a bad one is a 503 each time that it is needed, and one line in the log of the isolate", async () => {
  const { lines } = await captureLogs(async () => {
    for (const secret of [using("hunter2"), using("hunter2"), using(undefined)]) {
      for (let i = 0; i < 2; i++) expect(() => read(secret)).toThrow(Problem);
      checkSecrets(secret, [read]);
    }
  });
  expect(lines).toHaveLength(2);
  expect(lines).toMatchObject([
    { level: "error", secret: "A_SECRET", why: expect.stringContaining("A_SECRET") },
    { level: "error", secret: "A_SECRET" },
  ]);
  expect(JSON.stringify(lines)).not.toContain("hunter2");
});

test("a bug in reading one is no bad secret", () => {
  const bug = perEnvSecret("A_SECRET", () => {
    throw new RangeError("a bug");
  });
  expect(() => bug(using("x"))).toThrow(RangeError);
  expect(() => checkSecrets(using("x"), [bug])).toThrow(RangeError);
});

test.each([
  "what openssl rand -hex 32 prints",
  "CHANGE_ME",
  "changeme",
  "at least 32 characters",
  "your-token",
])("%s is a placeholder", (text) => {
  expect(isPlaceholder(text)).toBe(true);
});
