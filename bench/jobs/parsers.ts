/** A Worker that only parses, or only reads, what is in its bucket: what `analyze_file` is measured against. */
import { join } from "node:path";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { findChildren } from "../support/memory.ts";
import { DIST, ROOT } from "../support/workerd.ts";

export interface RunningParsers extends AsyncDisposable {
  url: string;
  pid: number | undefined;
  /** `udsv`, `papaparse` or `read`, which drops what it reads. Throws if it has read nothing. */
  run(name: string): Promise<void>;
}

/** Starts it with an empty bucket. A PUT stores the file. */
export async function startParsers(): Promise<RunningParsers> {
  const script = join(DIST, "parsers.js");
  await build({
    entryPoints: [join(ROOT, "bench/jobs/worker.ts")],
    outfile: script,
    bundle: true,
    format: "esm",
    logLevel: "error",
  });
  const others = new Set(findChildren("workerd"));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      workers: [
        {
          modules: true,
          modulesRoot: DIST,
          scriptPath: script,
          compatibilityDate: "2026-10-30",
          r2Buckets: { FILES: "files" },
        },
      ],
    }),
  );
  const { origin } = await miniflare.ready;
  return {
    url: origin,
    pid: findChildren("workerd").find((pid) => !others.has(pid)),
    async run(name) {
      const response = await fetch(`${origin}/${name}`, { method: "POST" });
      if (!(Number(await response.text()) > 0)) throw new Error(`${name} has read nothing`);
    },
    [Symbol.asyncDispose]: async () => miniflare.dispose(),
  };
}
