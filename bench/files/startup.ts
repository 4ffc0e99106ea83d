/** What it costs to start the Worker, from the profile that `wrangler check startup` writes. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { makeTemporaryFolder } from "../support/process.ts";
import { ROOT } from "../support/workerd.ts";

interface Profile {
  nodes: { id: number; callFrame: { functionName: string } }[];
  samples: number[];
  /** Microseconds before each sample. */
  timeDeltas: number[];
}

/** In ms of CPU on this machine: what is neither idle nor the runtime itself. */
export function measureStartup(): number {
  const folder = makeTemporaryFolder();
  try {
    const outfile = join(folder.path, "startup.cpuprofile");
    execFileSync("npx", ["wrangler", "check", "startup", "--outfile", outfile], {
      cwd: ROOT,
      stdio: "pipe",
      env: { ...process.env, SLUICE_TOKENS: "[]" },
    });
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(outfile, "utf8")) as Profile;
    const others = new Set(
      nodes
        .filter(({ callFrame }) => /^\((?:idle|program|root)\)$/.test(callFrame.functionName))
        .map(({ id }) => id),
    );
    const usedUs = samples.reduce((sum, id, i) => sum + (others.has(id) ? 0 : (timeDeltas[i] ?? 0)), 0);
    return usedUs / 1000;
  } finally {
    folder.remove();
  }
}
