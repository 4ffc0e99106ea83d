/** How much memory uploads take: how its peak grows with a file, and what many at once hold in buffers. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { readMemory, resetPeak } from "../support/memory.ts";
import { startMiniflare } from "../support/miniflare.ts";
import { DIST, ROOT } from "../support/workerd.ts";
import { type RunningServer, SLUICE_VARIABLES } from "./servers.ts";
import { sendForm, sendRaw, sendTus, type Way } from "./ways.ts";

const MIB = 1024 * 1024;
const SMALL = 64 * MIB;
const LARGE = 1024 * MIB;
const CROWD = 30;
const CROWD_SIZE = 24 * MIB;

export interface Growth {
  peakMib: number;
  growthMib: number;
}

/** How much higher memory peaks with a large file than with a small one, in a fresh server. */
export async function measureGrowth(
  start: () => Promise<RunningServer>,
  send: Way,
): Promise<Growth | undefined> {
  await using server = await start();
  if (server.pid === undefined) return undefined;
  await send(server.url, SMALL); // loads the code and lets the runtime allocate its reserves
  const peaks: number[] = [];
  for (const size of [SMALL, LARGE]) {
    resetPeak(server.pid);
    await send(server.url, size);
    peaks.push((readMemory(server.pid)?.peakBytes ?? Number.NaN) / MIB);
  }
  const [small = Number.NaN, large = Number.NaN] = peaks;
  return { peakMib: small, growthMib: large - small };
}

/** Inside the project: Miniflare reads modules from there only. */
const BUILT = join(DIST, "files");

/** The most that uploads of each kind hold when they come at once, in MiB. */
export async function measureCrowd(): Promise<number> {
  execFileSync("npx", ["wrangler", "deploy", "bench/files/worker.ts", "--dry-run", "--outdir", BUILT], {
    cwd: ROOT,
    stdio: "pipe",
  });
  await using server = await startMiniflare(SLUICE_VARIABLES, {
    main: join(BUILT, "worker.js"),
    onLog: () => {},
  });
  const ways: Way[] = [sendForm, sendTus("/uploads", CROWD_SIZE)];
  const sendOne = async (_: unknown, n: number) => {
    const send = ways[n % 3] ?? sendRaw(`/files/crowd-${n}.bin`);
    await send(server.url, CROWD_SIZE);
  };
  await Promise.all(Array.from({ length: CROWD }, sendOne));
  const { mostBytes } = (await (await fetch(`${server.url}/gauge`)).json()) as { mostBytes: number };
  return mostBytes / MIB;
}
