/**
 * `analyze_file`: how fast it is beside a parser that only parses, and how much memory a long file takes.
 *
 * The task is measured from its submission to its end, with everything: the ledger, types, statistics and sketches. Each
 * parser is in a Worker of its own that does nothing else. All run in workerd and read the same file, stored in the same way,
 * from the same simulated R2, in turn, so that all see the same machine.
 *
 * The time that passes is what a user sees. Where other work takes the processor away now and then, the CPU time of workerd
 * tells more; it includes the simulator's for all of them.
 */
import { readCpuMs } from "../support/cpu.ts";
import { startMiniflare } from "../support/miniflare.ts";
import { median, renderTable } from "../table.ts";
import { renderTargets } from "../targets.ts";
import { analyze, storeCsv } from "./analysis.ts";
import { LONG_BYTES, measureMemory } from "./analyze-memory.ts";
import { type RunningParsers, startParsers } from "./parsers.ts";

const MIB = 1024 * 1024;
const SPEED_BYTES = 64 * MIB;
const ROUNDS = 7;

/** Runs the measurements; returns the text to print. */
export async function benchAnalyze(): Promise<string> {
  await using parsers = await startParsers();
  await using sluice = await startMiniflare(
    { ACCESS: "local", MAX_REQUEST_BYTES: 5_000_000_000 },
    { onLog: () => {} },
  );
  // First: a server that has worked has a larger heap, in which more finds room.
  const { growthMib, bareMib } = await measureMemory(sluice, parsers);
  const { columns, share, cpuShare } = await compareSpeeds(sluice, parsers);
  const peak = `${LONG_BYTES / MIB} MiB: peak of memory above idle, MiB`;
  const shares = "MB/s ÷ those of the fastest parser";
  return [
    "analyze_file",
    renderTable(columns),
    "",
    renderTargets([
      { what: shares, before: "0.35", value: share, atLeast: 0.5 },
      { what: `${shares}, by CPU time`, before: "0.43", value: cpuShare, atLeast: 0.5 },
      { what: peak, before: "150", value: growthMib, digits: 0, atMost: 64 },
      {
        what: `${peak}, beyond that of R2.get`,
        before: "22",
        value: growthMib - bareMib,
        digits: 0,
        atMost: 64,
      },
    ]),
    "",
    `R2.get alone, read in the same chunks: ${bareMib.toFixed(0)} MiB above idle.`,
    "Before: 0.35 and 150 are of a file stored in parts, which the simulated R2 reads more slowly and with more memory than one",
    "put; 0.43 and 22 are of one put, as all of this run, and the 22 without anything subtracted.",
  ].join("\n");
}

interface Runs {
  what: string;
  speeds: number[];
  cpuMs: number[];
}

async function compareSpeeds(sluice: { url: string; pid: number | undefined }, parsers: RunningParsers) {
  await storeCsv(`${sluice.url}/files/speed.csv`, SPEED_BYTES);
  await storeCsv(parsers.url, SPEED_BYTES);
  const run = (name: string) => async () => parsers.run(name);
  const works = [
    {
      what: "analyze_file",
      pid: sluice.pid,
      work: async () => analyze(sluice.url, "speed.csv", SPEED_BYTES),
    },
    { what: "udsv, which only parses", pid: parsers.pid, work: run("udsv") },
    { what: "papaparse, which only parses", pid: parsers.pid, work: run("papaparse") },
    { what: "R2.get, which only reads", pid: parsers.pid, work: run("read") },
  ];
  const runs = works.map(({ what }): Runs => ({ what, speeds: [], cpuMs: [] }));
  // The first two rounds load the code, and let the compiler see what is hot.
  for (let round = -1; round <= ROUNDS; round++)
    for (const [i, { what, pid, work }] of works.entries()) {
      console.error(`round ${round} of ${ROUNDS}: ${what} …`);
      const [startMs, cpuMs] = [performance.now(), readCpuMs(pid)];
      await work();
      if (round < 1) continue;
      runs[i]?.speeds.push(SPEED_BYTES / 1e3 / (performance.now() - startMs));
      runs[i]?.cpuMs.push(readCpuMs(pid) - cpuMs);
    }
  const [own, ...others] = runs;
  const fastest = Math.max(...others.slice(0, 2).map(({ speeds }) => median(speeds)));
  const leastMs = Math.min(...others.slice(0, 2).map(({ cpuMs }) => median(cpuMs)));
  const column = (name: string, of: (run: Runs) => number, digits: number) => ({
    name,
    figures: runs.map((each) => ({ what: each.what, value: of(each), digits })),
  });
  const columns = [
    column("MB/s", ({ speeds }) => median(speeds), 1),
    column("best", ({ speeds }) => Math.max(...speeds), 1),
    column("÷ the fastest parser", ({ speeds }) => median(speeds) / fastest, 2),
    column("CPU time, ms", ({ cpuMs }) => median(cpuMs), 0),
  ];
  return {
    columns,
    share: median(own?.speeds ?? []) / fastest,
    cpuShare: leastMs / median(own?.cpuMs ?? []),
  };
}
