/**
 * Sluice and its rivals, each on a Miniflare of its own, with a socket straight to the Worker. Miniflare's proxy,
 * which `wrangler dev` and `miniflare.ready` use, would cost more than what is measured.
 *
 * Queues and workflows are simulated by Workers in the same workerd process. Workflows get a process of their own,
 * because a finished workflow keeps costing for a while.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire, stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare, type V4WorkerOptions } from "miniflare";
import { unstable_getMiniflareWorkerOptions, unstable_readConfig } from "wrangler";
import { makeTemporaryFolder } from "../support/process.ts";
import { ROOT } from "../support/workerd.ts";
import { Tickets } from "./tickets.ts";

/** A Worker that takes requests and logs the tickets of the tasks that start. */
export interface TaskServer extends AsyncDisposable {
  /** Without a slash at the end. */
  url: string;
  tickets: Tickets;
}

const CONFIG = join(ROOT, "wrangler.toml");

/** The Worker in worker.ts: Sluice with a few additions. */
export async function startSluice(): Promise<TaskServer> {
  const {
    modulesRules: _,
    assets: __,
    ...options
  } = unstable_getMiniflareWorkerOptions(CONFIG).workerOptions;
  const filled = { className: "FilledLedger", useSQLite: true };
  return start({
    ...options,
    name: "sluice",
    modules: true,
    script: bundle(join(import.meta.dirname, "worker.ts")),
    bindings: Object.assign({}, options.bindings, { ACCESS: "local" }),
    durableObjects: Object.assign({}, options.durableObjects, { FILLED_LEDGER: filled }),
  });
}

export async function startRivals(): Promise<TaskServer> {
  const source = readFileSync(join(import.meta.dirname, "rivals.ts"), "utf8");
  const { compatibility_date: compatibilityDate = "" } = unstable_readConfig({ config: CONFIG });
  return start({
    name: "rivals",
    modules: true,
    script: stripTypeScriptTypes(source),
    compatibilityDate,
    durableObjects: { ROWS: { className: "Rows", useSQLite: true } },
    queueProducers: { QUEUE: "queue", QUEUE_1: "queue-1" },
    queueConsumers: {
      queue: { maxBatchSize: 10, maxBatchTimeout: 0 },
      "queue-1": { maxBatchSize: 1, maxBatchTimeout: 0 },
    },
    workflows: { WORKFLOW: { name: "workflow", className: "OneStep" } },
  });
}

async function start(worker: V4WorkerOptions & { name: string }): Promise<TaskServer> {
  const tickets = new Tickets();
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false, // no request to the internet for this machine's location
      port: 0,
      handleStructuredLogs: ({ level, message }) => {
        if (!tickets.readLine(message) && (level === "warn" || level === "error")) console.error(message);
      },
      workers: [{ ...worker, unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] }],
    }),
  );
  await miniflare.ready;
  const { origin } = await miniflare.unsafeGetDirectURL(worker.name);
  return { url: origin, tickets, [Symbol.asyncDispose]: () => miniflare.dispose() };
}

/** The Worker as wrangler would deploy it, with `entry` as its main module. */
function bundle(entry: string): string {
  const folder = makeTemporaryFolder();
  try {
    const wrangler = createRequire(import.meta.url).resolve("wrangler/package.json");
    const args = ["deploy", entry, "--config", CONFIG, "--dry-run", "--outdir", folder.path];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(wrangler, "../bin/wrangler.js"), ...args],
      {
        cwd: ROOT,
        encoding: "utf8",
      },
    );
    if (status !== 0) throw new Error(`${entry} cannot be bundled:\n${stdout}${stderr}`);
    return readFileSync(join(folder.path, "worker.js"), "utf8");
  } finally {
    folder.remove();
  }
}
