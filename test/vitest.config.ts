/**
 * Two projects: `workers` runs in workerd, on the bindings of wrangler.toml; `node` holds what must look at the
 * source, or start the Worker as its users do.
 */
import { dirname } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";
import { TEST_VARIABLES } from "./support/variables.ts";

const root = dirname(import.meta.dirname);
const inNode = ["test/e2e/**/*.test.ts", "test/architecture.test.ts"];

export default defineConfig({
  root,
  test: {
    // By default one less than there are cores, which on a small machine is one.
    maxWorkers: 2,
    projects: [
      {
        root,
        plugins: [
          cloudflareTest({
            main: "./test/support/worker.ts",
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: { bindings: TEST_VARIABLES },
          }),
        ],
        test: { name: "workers", include: ["test/**/*.test.ts"], exclude: inNode, testTimeout: 30_000 },
      },
      { root, test: { name: "node", include: inNode, testTimeout: 120_000, hookTimeout: 120_000 } },
    ],
  },
});
