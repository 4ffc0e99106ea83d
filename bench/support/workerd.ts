/**
 * Sluice on plain workerd: the built Worker, its Durable Objects on disk, and nothing between a client and it.
 *
 * The Worker's bindings are read from `wrangler.toml` and written as a workerd configuration into a temporary folder.
 * Buckets and assets are not bound; use Miniflare for those. With a fixed `storageDir` and `port`, a killed Worker
 * can be started again with the same state and address.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { unstable_readConfig } from "wrangler";
import { z } from "zod";
import { type Child, makeTemporaryFolder, startProcess, untilResponds } from "./process.ts";
import { OWN_VARIABLES } from "./variables.ts";

// Not imported: Node and vitest see different things in a CommonJS module that has a default export.
const workerd = createRequire(import.meta.url)("workerd") as { default: string; version: string };

export const ROOT = resolve(import.meta.dirname, "../..");
/** The folder that `npm run build` writes. */
export const DIST = join(ROOT, "dist");
export const WORKERD_VERSION = workerd.version;

export interface WorkerdOptions {
  /** The built Worker. Default: the one of `npm run build`. */
  main?: string;
  /** Variables and secrets. They override OWN_VARIABLES and those of `wrangler.toml`. */
  vars: Record<string, unknown>;
  /** On 127.0.0.1. Default: any free one. */
  port?: number;
  /** Where the Durable Objects are stored. Default: a folder that `stop` removes. */
  storageDir?: string;
  /** Called with each line the Worker logs. */
  onLine?: (line: string) => void;
  /** Runs instead of the built Worker, which it can import as the module "sluice". */
  around?: Wrapper;
}

interface Wrapper {
  /** Its source, in JavaScript. */
  code: string;
  /** Its own Durable Objects, and the names of their bindings. */
  objects: DurableObjectBinding[];
  /** Further modules that it can import, in JavaScript. */
  modules?: { name: string; code: string }[];
  /** Additions to the configuration, in Cap'n Proto's text format. */
  bindings?: string[];
  services?: string[];
  sockets?: string[];
}

export interface Workerd extends AsyncDisposable {
  /** Without a trailing slash. */
  url: string;
  pid: number;
  /** Ends the process, with "SIGKILL" at once, and removes what `startWorkerd` made. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts the built Worker. Resolves when /healthz responds; rejects with workerd's output if it does not start. */
export async function startWorkerd(options: WorkerdOptions): Promise<Workerd> {
  const { main = join(DIST, "index.js"), vars, port = 0, storageDir, onLine, around } = options;
  const folder = makeTemporaryFolder();
  let child: Child | undefined;
  const stop = async (signal?: NodeJS.Signals) => {
    await child?.stop(signal);
    folder.remove();
  };
  try {
    const storage = storageDir ?? join(folder.path, "storage");
    mkdirSync(storage, { recursive: true });
    const config = join(folder.path, "config.capnp");
    if (around) writeFileSync(join(folder.path, "around.js"), around.code);
    for (const { name, code } of around?.modules ?? []) writeFileSync(join(folder.path, `${name}.js`), code);
    writeFileSync(config, describeWorker(basename(main), vars, storage, port, around));
    child = await startProcess({
      command: workerd.default,
      args: ["serve", "--control-fd=3", `--import-path=${dirname(main)}`, config],
      onLine,
    });
    const listensAt = await readPort(child);
    const url = `http://127.0.0.1:${listensAt}`;
    await untilResponds(`${url}/healthz`, child);
    return { url, pid: child.pid, stop, [Symbol.asyncDispose]: () => stop() };
  } catch (error) {
    await stop("SIGKILL");
    throw error;
  }
}

const bindingSchema = z.object({ name: z.string(), class_name: z.string() });
type DurableObjectBinding = z.output<typeof bindingSchema>;

/** The part of `wrangler.toml` that workerd gets. */
const configSchema = z.object({
  compatibility_date: z.string(),
  compatibility_flags: z.array(z.string()),
  migrations: z.array(z.object({ new_sqlite_classes: z.array(z.string()).default([]) })),
  durable_objects: z.object({ bindings: z.array(bindingSchema) }),
  vars: z.record(z.string(), z.unknown()),
});

/** The configuration in Cap'n Proto's text format. The schema is workerd.capnp, in the package `workerd`. */
function describeWorker(
  main: string,
  vars: Record<string, unknown>,
  storage: string,
  port: number,
  around?: Wrapper,
): string {
  const config = configSchema.parse(unstable_readConfig({ config: join(ROOT, "wrangler.toml") }));
  const migrated = config.migrations.flatMap((migration) => migration.new_sqlite_classes);
  const added = around?.objects ?? [];
  const classes = [...migrated, ...added.map((binding) => binding.class_name)];
  const objects = [...config.durable_objects.bindings, ...added];
  const built = `esModule = embed ${quote(`/${main}`)}`;
  const modules = around
    ? [
        '(name = "around.js", esModule = embed "around.js")',
        `(name = "sluice", ${built})`,
        ...(around.modules ?? []).map(
          ({ name }) => `(name = ${quote(name)}, esModule = embed ${quote(`${name}.js`)})`,
        ),
      ]
    : [`(name = ${quote(main)}, ${built})`];
  const bindings = [
    ...Object.entries({ ...config.vars, ...OWN_VARIABLES, ...vars }).map(([name, value]) =>
      describeVariable(name, value),
    ),
    ...objects.map((o) => `(name = ${quote(o.name)}, durableObjectNamespace = ${quote(o.class_name)})`),
    ...(around?.bindings ?? []),
  ];
  const sockets = [
    `(name = "http", address = "127.0.0.1:${port}", http = (), service = "sluice")`,
    ...(around?.sockets ?? []),
  ];
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "sluice", worker = (
      modules = ${list(modules)},
      compatibilityDate = ${quote(config.compatibility_date)},
      compatibilityFlags = ${list(config.compatibility_flags.map(quote))},
      bindings = ${list(bindings)},
      durableObjectNamespaces = ${list(classes.map(describeClass))},
      durableObjectStorage = (localDisk = "storage"),
    )),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "storage", disk = (path = ${quote(storage)}, writable = true)),
    ${(around?.services ?? []).join(", ")}
  ],
  sockets = ${list(sockets)},
);
`;
}

const describeClass = (name: string) =>
  `(className = ${quote(name)}, uniqueKey = ${quote(`sluice-${name}`)}, enableSql = true)`;

const describeVariable = (name: string, value: unknown) =>
  typeof value === "string"
    ? `(name = ${quote(name)}, text = ${quote(value)})`
    : `(name = ${quote(name)}, json = ${quote(JSON.stringify(value))})`;

const list = (items: string[]) => `[${items.join(", ")}]`;

/** For the text in variables and paths, JSON and Cap'n Proto have the same escapes. */
const quote = (text: string) => JSON.stringify(text);

/** The port that workerd has opened, from the messages that it sends with `--control-fd`. */
async function readPort(child: Child): Promise<number> {
  let text = "";
  for await (const chunk of child.control.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    const port = /"event":"listen","socket":"http","port":(\d+)/.exec(text)?.[1];
    if (port !== undefined) return Number(port);
  }
  return child.failed; // it has closed the channel because it is ending
}
