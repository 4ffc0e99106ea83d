/**
 * The Worker with shorter times, so that tests see in seconds what takes half a minute in production: the same source,
 * save for the constants below. The Worker is that of support/tasks-worker.ts.
 */
import { buildChanged, type Change, replaceOnce } from "./changed-worker.ts";

export const HURRIED = {
  "src/tasks/ledger/rules.ts": { LEASE_MS: 3_200 },
  "src/tasks/run/submit.ts": { RESPONSE_MARGIN_MS: 500 },
  "src/outbound/client/hand-over.ts": { LEASE_MS: 4_000, MARGIN_MS: 500 },
  "src/outbound/client/pace.ts": { windowMs: 1_500 },
};

/** Builds it as the module `outfile`; returns that path. */
export async function buildHurried(outfile: string): Promise<string> {
  const changes = Object.entries(HURRIED).map(([file, constants]): [string, Change] => [
    file,
    (source) => withConstants(source, constants),
  ]);
  return buildChanged({ entry: "test/support/tasks-worker.ts", outfile, changes: new Map(changes) });
}

/** The source, in which these constants have other values. Throws if it does not set each of them in one place. */
function withConstants(source: string, constants: Record<string, number>): string {
  return Object.entries(constants).reduce(
    (text, [name, value]) => replaceOnce(text, new RegExp(`(?<=\\b${name}(?: =|:) )[\\d_]+`), String(value)),
    source,
  );
}
