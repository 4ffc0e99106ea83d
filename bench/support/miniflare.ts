/**
 * Sluice on Miniflare: for what needs R2, which plain workerd does not have.
 *
 * The Worker and the simulated bucket share one workerd process, which is a child of this one. The bucket is a
 * folder on disk, removed at the end. With a `storageDir` and a `port` of the caller's, a Worker that was killed can
 * be started again as the same one.
 */
import { join } from "node:path";
import { convertV4MiniflareOptions, type Json, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { findChildren } from "./memory.ts";
import { DIST, ROOT } from "./workerd.ts";

export interface MiniflareOptions {
  /** On 127.0.0.1; any free one by default. */
  port?: number;
  /** Where buckets and Durable Objects are kept, and stay. */
  storageDir?: string;
  /** Called with what the Worker and the runtime log; by default that goes to the console. */
  onLog?: (log: { level: string; message: string }) => void;
}

export interface RunningMiniflare extends AsyncDisposable {
  /** Without a slash at the end. */
  url: string;
  /** Of workerd; undefined where it cannot be found out. */
  pid: number | undefined;
  miniflare: Miniflare;
}

/** Starts the built Worker with all of its bindings, and `vars` over those of `wrangler.toml`. */
export async function startMiniflare(
  vars: Record<string, Json>,
  { port = 0, storageDir, onLog }: MiniflareOptions = {},
): Promise<RunningMiniflare> {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(ROOT, "wrangler.toml"));
  const { modulesRules: _, ...options } = workerOptions; // the built Worker is a single module
  const others = new Set(findChildren("workerd"));
  const converted = convertV4MiniflareOptions({
    cf: false, // asks nobody on the internet where this machine is
    port,
    ...(onLog && { handleStructuredLogs: onLog }),
    workers: [
      {
        ...options,
        modules: true,
        scriptPath: join(DIST, "index.js"),
        bindings: Object.assign({}, options.bindings, vars),
      },
    ],
  });
  const miniflare = new Miniflare(
    storageDir === undefined ? converted : { ...converted, resourcePersistencePath: storageDir },
  );
  const url = await miniflare.ready;
  return {
    url: url.origin,
    pid: findChildren("workerd").find((pid) => !others.has(pid)),
    miniflare,
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}
