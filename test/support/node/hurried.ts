/**
 * The Worker with shorter times, so that tests see in seconds what takes half a minute in production: the same source,
 * save for the constants below. The Worker is that of support/tasks-worker.ts.
 */
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");

export const HURRIED = {
  "src/tasks/ledger/rules.ts": { LEASE_MS: 3_200 },
  "src/tasks/run/submit.ts": { RESPONSE_MARGIN_MS: 500 },
  "src/outbound/client/hand-over.ts": { LEASE_MS: 4_000, MARGIN_MS: 500 },
  "src/outbound/client/pace.ts": { windowMs: 1_500 },
};

/** Builds it as the module `outfile`; returns that path. */
export async function buildHurried(outfile: string): Promise<string> {
  const { build } = await import("esbuild"); // not for those who only read the times
  const times = new Map<string, Record<string, number>>(Object.entries(HURRIED));
  await build({
    entryPoints: [join(ROOT, "test/support/tasks-worker.ts")],
    outfile,
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    plugins: [
      {
        name: "hurry",
        setup: (builder) =>
          builder.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
            const constants = times.get(relative(ROOT, path));
            if (!constants) return undefined;
            return { loader: "ts", contents: withConstants(await readFile(path, "utf8"), constants) };
          }),
      },
    ],
  });
  return outfile;
}

/** The source, in which these constants have other values. Throws if it does not set each of them in one place. */
function withConstants(source: string, constants: Record<string, number>): string {
  return Object.entries(constants).reduce((text, [name, value]) => {
    const [before, after, ...others] = text.split(new RegExp(`(?<=\\b${name}(?: =|:) )[\\d_]+`));
    if (after === undefined || others.length > 0) throw new Error(`${name} is not set in one place.`);
    return before + String(value) + after;
  }, source);
}
