/** The bundles of this release and of the last one, and how they are run on each other's objects. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { OWN_VARIABLES } from "../../../bench/support/variables.ts";
import { ROOT } from "../../../bench/support/workerd.ts";
import { fromWorkshop } from "./built-worker.ts";

/** Replace it by the bundle of each release: `wrangler deploy --dry-run --minify`, and gzip. */
const LAST = "0.1.0";

/** The path of a release's module: of the last one, unpacked into `folder`, or of this one. */
export async function releaseAt(which: "last" | "this", folder: string): Promise<string> {
  if (which === "this") return fromWorkshop("/built");
  const path = join(folder, `${LAST}.js`);
  writeFileSync(path, gunzipSync(readFileSync(join(ROOT, `test/releases/${LAST}.js.gz`))));
  return path;
}

interface Sides {
  /** The module of the Worker that is called. */
  worker: string;
  /** The module whose classes the objects have. */
  objects: string;
  storageDir: string;
}

/** Runs a Worker whose objects are those of another module, as during a deploy. */
export async function startReleases({ worker, objects, storageDir }: Sides) {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(ROOT, "wrangler.toml"));
  const { modulesRules: _, durableObjects = {}, ...options } = workerOptions;
  const at = (path: string) => ({
    ...options,
    modules: true as const,
    modulesRoot: dirname(path),
    scriptPath: path,
    bindings: Object.assign({}, options.bindings, OWN_VARIABLES),
  });
  const elsewhere = Object.entries(durableObjects as Record<string, object>).map(([name, designator]) => [
    name,
    { ...designator, scriptName: "objects" },
  ]);
  const miniflare = new Miniflare({
    ...convertV4MiniflareOptions({
      cf: false,
      handleStructuredLogs: () => {},
      workers: [
        { ...at(worker), name: "worker", durableObjects: Object.fromEntries(elsewhere) },
        { ...at(objects), name: "objects", durableObjects },
      ],
    }),
    resourcePersistencePath: storageDir,
  });
  const { origin } = await miniflare.ready;
  return { url: origin, [Symbol.asyncDispose]: () => miniflare.dispose() };
}
