/**
 * Four projects. `npm test` runs the first two, and `npm run e2e` the others:
 *
 * - `workers` runs in workerd, on the bindings of wrangler.toml. Its files share a few Workers, one after the other, since
 *   a start costs more than most files take. Before each file its Worker's storage is emptied (support/fresh.ts), so that
 *   what one leaves in R2 and in objects does not reach the next. What is in the memory of the Worker stays: task types
 *   that a file registers have names of its own.
 * - `node` holds what must look at the source, or start the Worker as its users do. Its files share a few processes, one
 *   after the other, and what support/node/workshop.ts makes: the built Worker, and servers.
 * - `slow` and `slow-workers` are the same for what takes long: test/e2e/slow, and files named `*.slow.test.ts`.
 */
import { existsSync } from "node:fs";
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";
import { LongestFirst } from "./test/support/node/longest-first.ts";
import { expectedErrors, RuntimeErrors } from "./test/support/node/runtime-errors.ts";
import { sentEmails } from "./test/support/node/sent-emails.ts";
import { MEMORY_FOLDER, makeStorageFolder } from "./test/support/node/storage-folder.ts";
import { TEST_VARIABLES } from "./test/support/variables.ts";

// What wrangler.toml requires, which a .dev.vars of this machine may lack; the tests have their own.
process.env.SLUICE_TOKENS ??= "[]";

// It saves a fifth of the time.
const storage = process.platform === "linux" ? makeStorageFolder(MEMORY_FOLDER) : undefined;
if (storage !== undefined) process.env.TMPDIR = storage;

const root = import.meta.dirname;
// `npm ci` has made it; a new worktree has not.
if (!existsSync(`${root}/dist/assets`)) await import("./scripts/build-pages.ts");

/** `expect.poll` gives up after a second by default, which is little on a busy machine. */
const PATIENT = { poll: { timeout: 20_000 } };

const slow = "test/e2e/slow/**/*.test.ts";
const slowInWorkers = "test/**/*.slow.test.ts";
const inNode = [
  "test/e2e/*.test.ts",
  "test/architecture.test.ts",
  "test/pages.test.ts",
  "test/patterns.test.ts",
];
export default defineConfig({
  root,
  test: {
    // Most files wait more than they work: six keep two cores busy.
    maxWorkers: 6,
    reporters: [["default", { summary: false }], new RuntimeErrors()],
    slowTestThreshold: 10_000,
    silent: "passed-only",
    sequence: { sequencer: LongestFirst },
    projects: [
      inWorkersProject("workers", ["test/**/*.test.ts"], [...inNode, slow, slowInWorkers]),
      inWorkersProject("slow-workers", [slowInWorkers]),
      inNodeProject("node", inNode),
      inNodeProject("slow", [slow]),
    ],
  },
});

/** A project whose files run in workerd. */
function inWorkersProject(
  name: string,
  include: string[],
  exclude: string[] = [],
): TestProjectInlineConfiguration {
  return {
    root,
    plugins: [
      cloudflareTest({
        main: "./test/support/worker.ts",
        wrangler: { configPath: "./wrangler.toml" },
        miniflare: {
          bindings: TEST_VARIABLES,
          email: { send_email: [{ name: "EMAIL" }] },
          serviceBindings: { EXPECTED_ERRORS: expectedErrors, SENT_EMAILS: sentEmails },
        },
      }),
    ],
    test: {
      name,
      include,
      exclude,
      isolate: false,
      setupFiles: ["test/support/fresh.ts"],
      testTimeout: 60_000,
      hookTimeout: 60_000,
      expect: PATIENT,
    },
  };
}

/** A project whose files run in Node. */
function inNodeProject(name: string, include: string[]): TestProjectInlineConfiguration {
  return {
    root,
    test: {
      name,
      include,
      globalSetup: ["test/support/node/workshop.ts"],
      isolate: false,
      testTimeout: 120_000,
      hookTimeout: 120_000,
      expect: PATIENT,
    },
  };
}
