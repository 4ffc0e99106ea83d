/**
 * Sluice on Miniflare: for what needs R2, which plain workerd does not have.
 *
 * The Worker and the simulated bucket share one workerd process, which is a child of this one. The bucket is a
 * folder on disk, removed at the end.
 */
import { join } from "node:path";
import { convertV4MiniflareOptions, type Json, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { findChildren } from "./memory.ts";
import { DIST, ROOT } from "./workerd.ts";

export interface RunningMiniflare extends AsyncDisposable {
  /** Without a slash at the end. */
  url: string;
  /** Of workerd; undefined where it cannot be found out. */
  pid: number | undefined;
}

/** Starts the built Worker with all of its bindings, and `vars` over those of `wrangler.toml`. */
export async function startMiniflare(vars: Record<string, Json>): Promise<RunningMiniflare> {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(ROOT, "wrangler.toml"));
  const { modulesRules: _, ...options } = workerOptions; // the built Worker is a single module
  const others = new Set(findChildren("workerd"));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false, // asks nobody on the internet where this machine is
      workers: [
        {
          ...options,
          modules: true,
          scriptPath: join(DIST, "index.js"),
          bindings: Object.assign({}, options.bindings, vars),
        },
      ],
    }),
  );
  const url = await miniflare.ready;
  return {
    url: url.origin,
    pid: findChildren("workerd").find((pid) => !others.has(pid)),
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}
