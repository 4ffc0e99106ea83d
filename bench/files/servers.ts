/** The servers that are compared: Sluice, a Worker that only calls `R2.put`, and tus's own server for Node. */
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import type { Server } from "../contender.ts";
import { findChildren } from "../support/memory.ts";
import { startMiniflare } from "../support/miniflare.ts";
import { makeTemporaryFolder, startProcess } from "../support/process.ts";

export interface RunningServer extends Server, AsyncDisposable {}

/** One request may bring a whole file, as on the plans that allow it. */
export const SLUICE_VARIABLES = { ACCESS: "local", MAX_REQUEST_BYTES: 5_000_000_000 };

export const startSluice = async (): Promise<RunningServer> => startMiniflare(SLUICE_VARIABLES);

const PLAIN = `export default {
  async fetch(request, env) {
    if (request.method === "GET") return new Response((await env.FILES.get("file")).body);
    const { size } = await env.FILES.put("file", request.body);
    return new Response(String(size));
  },
};`;

/** The minimum that anything built on R2 must do. */
export async function startPlainR2(): Promise<RunningServer> {
  const others = new Set(findChildren("workerd"));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      workers: [
        { modules: true, script: PLAIN, compatibilityDate: "2026-10-30", r2Buckets: { FILES: "files" } },
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

export async function startTusServer(): Promise<RunningServer> {
  const folder = makeTemporaryFolder();
  const listening = Promise.withResolvers<string>();
  const child = await startProcess({
    command: process.execPath,
    args: [join(import.meta.dirname, "tus-server.ts"), folder.path],
    onLine: (line) => {
      if (line.startsWith("http://")) listening.resolve(line);
    },
  });
  const url = await Promise.race([listening.promise, child.failed]);
  return {
    url,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stop();
      folder.remove();
    },
  };
}
