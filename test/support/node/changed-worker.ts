/** A Worker built from the same source, in which a few places are not as they are: for tests of what time or a fault does. */
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");

/** What becomes of the source of a file. Throws if it is not as it expects. */
export type Change = (source: string) => string;

interface Options {
  /** Relative to the root, as the files of `changes`. */
  entry: string;
  outfile: string;
  changes: ReadonlyMap<string, Change>;
}

/** Builds it as the module `outfile`; returns that path. Rejects if a file of `changes` is not part of it. */
export async function buildChanged({ entry, outfile, changes }: Options): Promise<string> {
  const { build } = await import("esbuild"); // not for those who only read what is changed
  const missing = new Set(changes.keys());
  await build({
    entryPoints: [join(ROOT, entry)],
    outfile,
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    plugins: [
      {
        name: "change",
        setup: (builder) =>
          builder.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
            const name = relative(ROOT, path);
            const change = changes.get(name);
            if (!change) return undefined;
            missing.delete(name);
            return { loader: "ts", contents: change(await readFile(path, "utf8")) };
          }),
      },
    ],
  });
  if (missing.size > 0) throw new Error(`${[...missing].join(", ")}: not part of ${entry}.`);
  return outfile;
}

/** Replaces what is in exactly one place of the source. Throws if it is not. */
export function replaceOnce(source: string, from: string | RegExp, to: string): string {
  const [before, after, ...others] = source.split(from);
  if (after === undefined || others.length > 0) throw new Error(`${String(from)} is not in one place.`);
  return before + to + after;
}
