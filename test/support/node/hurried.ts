/**
 * The Worker with shorter times, so that tests see in seconds what takes half a minute in production: the same source,
 * save for the constants below. The Worker is that of support/tasks-worker.ts.
 */
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");

export const HURRIED = {
  "src/tasks/ledger/rules.ts": { LEASE_MS: 3_000 },
  "src/tasks/run/submit.ts": { RESPONSE_MARGIN_MS: 1_000 },
  "src/outbound/client/acquire-permit.ts": { LEASE_MS: 4_000, MARGIN_MS: 500 },
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
        setup: ({ onLoad }) =>
          onLoad({ filter: /\.ts$/ }, async ({ path }) => {
            const constants = times.get(relative(ROOT, path));
            if (!constants) return undefined;
            return { loader: "ts", contents: withConstants(await readFile(path, "utf8"), constants) };
          }),
      },
    ],
  });
  return outfile;
}

/** The source, in which these constants have other values. Throws if it does not declare one of them. */
function withConstants(source: string, constants: Record<string, number>): string {
  let text = source;
  for (const [name, value] of Object.entries(constants)) {
    const declaration = new RegExp(`^((?:export )?const ${name} =) [\\d_]+;$`, "m");
    if (!declaration.test(text)) throw new Error(`No constant ${name} is declared.`);
    text = text.replace(declaration, `$1 ${value};`);
  }
  return text;
}
