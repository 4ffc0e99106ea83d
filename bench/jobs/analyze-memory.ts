/**
 * How much memory a long file takes: that of `analyze_file`, and that of a Worker which only reads it from the same
 * simulated R2, and in chunks of the same size. Both run in workerd with the simulator, so what the second one takes is that
 * of the simulator.
 */
import { readMemory, resetPeak } from "../support/memory.ts";
import type { RunningMiniflare } from "../support/miniflare.ts";
import { analyze, storeCsv } from "./analysis.ts";
import type { RunningParsers } from "./parsers.ts";

const MIB = 1024 * 1024;
export const LONG_BYTES = 1024 * MIB;

/** In MiB: how far the peak is above what is resident when all of this has been done once and the server is idle. */
export async function measureMemory(
  sluice: RunningMiniflare,
  parsers: RunningParsers,
): Promise<{ growthMib: number; bareMib: number }> {
  const bareMib = await measureGrowth(parsers.pid, {
    what: "only reading",
    store: async (size) => storeCsv(parsers.url, size),
    read: async () => parsers.run("read"),
  });
  const growthMib = await measureGrowth(sluice.pid, {
    what: "analysing",
    store: async (size) => storeCsv(`${sluice.url}/files/long.csv`, size),
    read: async (size) => analyze(sluice.url, "long.csv", size),
  });
  return { growthMib, bareMib };
}

interface Work {
  what: string;
  store: (size: number) => Promise<void>;
  read: (size: number) => Promise<void>;
}

async function measureGrowth(pid: number | undefined, { what, store, read }: Work): Promise<number> {
  if (pid === undefined) return Number.NaN;
  await store(MIB);
  await read(MIB);
  await store(LONG_BYTES);
  await idle();
  const idleBytes = readMemory(pid)?.nowBytes ?? Number.NaN;
  resetPeak(pid);
  await read(LONG_BYTES);
  const growthMib = ((readMemory(pid)?.peakBytes ?? Number.NaN) - idleBytes) / MIB;
  console.error(`memory: ${what} ${LONG_BYTES / MIB} MiB: ${growthMib.toFixed(0)} MiB above idle`);
  return growthMib;
}

/** Long enough for the runtime to give back what it no longer needs. */
const idle = async () => new Promise((resolve) => setTimeout(resolve, 15_000));
