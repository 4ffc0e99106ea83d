/** The built Worker on plain workerd, with nothing between a client and it: no proxy that hides how a body ended. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { startWorkerd, type Workerd } from "../../../bench/support/workerd.ts";

const root = join(import.meta.dirname, "../../..");

/** Builds the Worker and starts it, with these upstreams. */
export async function startBuilt(upstreams: Record<string, unknown>): Promise<Workerd> {
  const folder = makeTemporaryFolder();
  const args = ["deploy", "--dry-run", "--outdir", folder.path];
  execFileSync("npx", ["wrangler", ...args], { cwd: root, stdio: "pipe" });
  try {
    return await startWorkerd({
      main: join(folder.path, "index.js"),
      vars: { UPSTREAMS: upstreams, DATA_UPSTREAM: Object.keys(upstreams)[0] },
    });
  } finally {
    folder.remove();
  }
}
