/**
 * The built Worker and the servers of the files in e2e/, made when a file asks for them, and kept until the end of the
 * run. vitest's own process makes them: it has wrangler and Miniflare in memory, so those of the tests need not load them.
 *
 *     GET /built                     the path of the Worker as `npm run build` makes it
 *     GET /hurried                   the path of the Worker with shorter times (hurried.ts)
 *     GET /workerd?{vars}            the URL of the built Worker on plain workerd, with these variables, as JSON
 *     GET /hurried-workerd?{vars}    the same, with shorter times
 *     GET /miniflare?{vars}          the URL of the built Worker on Miniflare, with a bucket and a cache
 *
 * Who asks for the same gets the same.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";
import { startMiniflare } from "../../../bench/support/miniflare.ts";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { ROOT, startWorkerd } from "../../../bench/support/workerd.ts";
import { buildHurried } from "./hurried.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The URL of the workshop, without a trailing slash. */
    workshop: string;
  }
}

/** The `globalSetup` of the project `node`. Returns what ends everything that was made. */
export default async function openWorkshop(project: TestProject): Promise<() => Promise<void>> {
  const made = new AsyncDisposableStack();
  const folder = makeTemporaryFolder();
  made.defer(folder.remove);
  const results = new Map<string, Promise<string>>();
  const get = async (target: string): Promise<string> => {
    const result = results.get(target) ?? make(target);
    results.set(target, result);
    return result;
  };
  const make = async (target: string): Promise<string> => {
    const [kind = "", query = ""] = target.split("?");
    const vars = () => JSON.parse(decodeURIComponent(query));
    switch (kind) {
      case "/built":
        return build(folder.path);
      case "/hurried":
        return buildHurried(join(folder.path, "hurried.js"));
      case "/workerd":
        return made.use(await startWorkerd({ main: await get("/built"), vars: vars() })).url;
      case "/hurried-workerd":
        return made.use(await startWorkerd({ main: await get("/hurried"), vars: vars() })).url;
      case "/miniflare": {
        const storageDir = join(folder.path, `storage${results.size}`);
        const options = { main: await get("/built"), storageDir, onLog: () => {} };
        return made.use(await startMiniflare(vars(), options)).url;
      }
      default:
        throw new Error(`${target} is not made here.`);
    }
  };
  const server = createServer((request, response) => {
    get(String(request.url)).then(
      (text) => response.end(text),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  made.defer(() => server.close().closeAllConnections());
  project.provide("workshop", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => made.disposeAsync();
}

async function build(folder: string): Promise<string> {
  const wrangler = join(ROOT, "node_modules/.bin/wrangler");
  await promisify(execFile)(wrangler, ["deploy", "--dry-run", "--outdir", folder], { cwd: ROOT });
  return join(folder, "index.js");
}
