/**
 * Sluice on Miniflare, for measurements that need R2, which plain workerd does not have.
 *
 * The Worker and the simulated bucket share one workerd process, which is a child of this one. The bucket is a folder
 * on disk that is removed at the end. With a fixed `storageDir` and `port`, a killed Worker can be started again with
 * the same state and address.
 */
import { dirname, join } from "node:path";
import { convertV4MiniflareOptions, type Json, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { findChildren } from "./memory.ts";
import { OWN_VARIABLES } from "./variables.ts";
import { DIST, ROOT } from "./workerd.ts";

export interface MiniflareOptions {
  /** The built Worker. Default: the one of `npm run build`. */
  main?: string | undefined;
  /** On 127.0.0.1. Default: any free one. */
  port?: number;
  /** Where buckets and Durable Objects are stored. It is not removed. */
  storageDir?: string;
  /** Called with each log entry of the Worker and the runtime. Default: they go to the console. */
  onLog?: (log: { level: string; message: string }) => void;
}

export interface RunningMiniflare extends AsyncDisposable {
  /** Without a trailing slash. */
  url: string;
  /** The pid of workerd; undefined where it cannot be found. */
  pid: number | undefined;
  miniflare: Miniflare;
}

/** Starts the built Worker with all of its bindings. `vars` override OWN_VARIABLES and those of `wrangler.toml`. */
export async function startMiniflare(
  vars: Record<string, Json>,
  { main = join(DIST, "index.js"), port = 0, storageDir, onLog }: MiniflareOptions = {},
): Promise<RunningMiniflare> {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(ROOT, "wrangler.toml"));
  const { modulesRules: _, ...options } = workerOptions; // the built Worker is a single module
  const others = new Set(findChildren("workerd"));
  const converted = convertV4MiniflareOptions({
    cf: false, // do not look up the location of this machine on the internet
    port,
    ...(onLog && { handleStructuredLogs: onLog }),
    workers: [
      {
        ...options,
        modules: true,
        modulesRoot: dirname(main),
        scriptPath: main,
        bindings: Object.assign({}, options.bindings, OWN_VARIABLES, vars),
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
