/** How fast each way in and out is, beside R2 alone: in each round each gets one file, so that all see the same machine. */
import { type Column, median } from "../table.ts";
import { digestOf } from "../upload.ts";
import type { RunningServer } from "./servers.ts";
import { readFile, type Way } from "./ways.ts";

const MIB = 1024 * 1024;
export const SIZE = 256 * MIB;
const ROUNDS = 5;

export interface Run {
  what: string;
  server: RunningServer;
  send: Way;
}

export interface Speeds {
  columns: Column[];
  /** The median of each run ÷ that of the first, by its name. */
  ratios: Map<string, number>;
}

/** For each run: the median speed, the best speed, and the median relative to the first run. */
export async function measureSpeeds(runs: Run[]): Promise<Speeds> {
  const speeds = runs.map((): number[] => []);
  digestOf(SIZE); // cached, so that it is not computed during a measurement
  for (const { server, send } of runs) await send(server.url, 8 * MIB); // loads the code
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, { what, server, send }] of runs.entries()) {
      console.error(`round ${round + 1} of ${ROUNDS}: ${what} …`);
      const startMs = performance.now();
      await send(server.url, SIZE);
      speeds[i]?.push(SIZE / 1e3 / (performance.now() - startMs));
    }
  }
  const base = median(speeds[0] ?? []);
  const column = (name: string, of: (speeds: number[]) => number, digits: number): Column => ({
    name,
    figures: runs.map(({ what }, i) => ({
      what: `${what}, ${SIZE / MIB} MiB`,
      value: of(speeds[i] ?? []),
      digits,
    })),
  });
  return {
    columns: [
      column("MB/s", median, 0),
      column("best", (values) => Math.max(...values), 0),
      column("× R2.put", (values) => median(values) / base, 2),
    ],
    ratios: new Map(runs.map(({ what }, i) => [what, median(speeds[i] ?? []) / base])),
  };
}

/** Reading what the last round stored: Sluice beside a bare `R2.get`. */
export async function measureReads(r2: RunningServer, sluice: RunningServer) {
  const servers = [`${r2.url}/file`, `${sluice.url}/files/bench.bin`];
  const names = ["R2.get alone", "GET /files/{id}"];
  const speeds = servers.map((): number[] => []);
  const firstBytes = servers.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, url] of servers.entries()) {
      const { size, firstByteMs, totalMs } = await readFile(url);
      if (size !== SIZE) throw new Error(`${url} has ${size} bytes`);
      speeds[i]?.push(SIZE / 1e3 / totalMs);
      firstBytes[i]?.push(firstByteMs);
    }
  }
  const column = (name: string, figures: number[][], digits: number): Column => ({
    name,
    figures: names.map((what, i) => ({ what, value: median(figures[i] ?? []), digits })),
  });
  const [base = [], ours = []] = speeds;
  return {
    columns: [column("MB/s", speeds, 0), column("first byte, ms", firstBytes, 1)],
    ratio: median(ours) / median(base),
  };
}
