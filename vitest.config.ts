/**
 * Three projects:
 *
 * - `workers` runs in workerd, on the bindings of wrangler.toml. Its files share a few Workers, since each start costs
 *   more than most files take. So a file may not assume that storage is empty: it uses names of its own.
 * - `isolated` does the same in a Worker of its own for each file, for those that look at all of the storage, or count
 *   what the whole Worker does. Say why in the list below.
 * - `node` holds what must look at the source, or start the Worker as its users do.
 */
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/support/node/longest-first.ts";
import { expectedErrors, RuntimeErrors } from "./test/support/node/runtime-errors.ts";
import { TEST_VARIABLES } from "./test/support/variables.ts";

const root = import.meta.dirname;
const inNode = ["test/e2e/**/*.test.ts", "test/architecture.test.ts"];
const isolated = [
  // Counts every object in R2 during a concatenation.
  "test/files/resumable/concatenation.test.ts",
  // Finds the object of an upload by being the only one in R2.
  "test/files/resumable/completion.test.ts",
];

const workers = () =>
  cloudflareTest({
    main: "./test/support/worker.ts",
    wrangler: { configPath: "./wrangler.toml" },
    miniflare: { bindings: TEST_VARIABLES, serviceBindings: { EXPECTED_ERRORS: expectedErrors } },
  });

export default defineConfig({
  root,
  test: {
    // Most files wait more than they work: three keep two cores busy.
    maxWorkers: 3,
    reporters: [["default", { summary: false }], new RuntimeErrors()],
    slowTestThreshold: 10_000,
    silent: "passed-only",
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        root,
        plugins: [workers()],
        test: {
          name: "workers",
          include: ["test/**/*.test.ts"],
          exclude: [...inNode, ...isolated],
          isolate: false,
          testTimeout: 30_000,
        },
      },
      { root, plugins: [workers()], test: { name: "isolated", include: isolated, testTimeout: 30_000 } },
      { root, test: { name: "node", include: inNode, testTimeout: 120_000, hookTimeout: 120_000 } },
    ],
  },
});
