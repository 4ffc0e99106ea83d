/**
 * `analyze_file`: how fast it is beside a parser that only parses, and how much memory a long file takes.
 *
 * The task is measured from its submission to its end, with everything: the ledger, types, statistics and sketches. Each
 * parser is in a Worker of its own that does nothing else. All run in workerd and read the file from the same simulated R2, in
 * turn, so that all see the same machine.
 */
import { join } from "node:path";
import { Readable } from "node:stream";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { z } from "zod";
import { readMemory, resetPeak } from "../support/memory.ts";
import { type RunningMiniflare, startMiniflare } from "../support/miniflare.ts";
import { DIST, ROOT } from "../support/workerd.ts";
import { median, renderTable } from "../table.ts";
import { renderTargets } from "../targets.ts";
import { makeCsv } from "./csv.ts";

const MIB = 1024 * 1024;
const SPEED_BYTES = 64 * MIB;
const LONG_BYTES = 1024 * MIB;
const ROUNDS = 5;
const MIN_SHARE_OF_PARSER = 0.5;
const MAX_GROWTH_MIB = 64;

const taskSchema = z.object({
  id: z.string(),
  status: z.string(),
  result: z.object({ rows: z.number(), size: z.number() }).nullish(),
  error: z.unknown(),
});

/** Runs the measurements; returns the text to print. */
export async function benchAnalyze(): Promise<string> {
  await using sluice = await startMiniflare(
    { ACCESS: "local", MAX_REQUEST_BYTES: 5_000_000_000 },
    { onLog: () => {} },
  );
  const growth = await measureGrowth(sluice);
  const { columns, share } = await compareSpeeds(sluice.url);
  return [
    "analyze_file",
    renderTable(columns),
    "",
    renderTargets([
      { what: "MB/s ÷ those of the fastest parser", before: "", value: share, atLeast: MIN_SHARE_OF_PARSER },
      {
        what: `${LONG_BYTES / MIB} MiB: peak of memory above idle, MiB`,
        before: "",
        value: growth,
        digits: 0,
        atMost: MAX_GROWTH_MIB,
      },
    ]),
  ].join("\n");
}

async function compareSpeeds(sluiceUrl: string) {
  await using parsers = await startParsers();
  const size = await store(`${sluiceUrl}/files/speed.csv`, SPEED_BYTES);
  await store(parsers.url, SPEED_BYTES);
  const runs = [
    { what: "analyze_file", run: async () => void (await analyze(sluiceUrl, "speed.csv")) },
    ...["udsv", "papaparse"].map((name) => ({
      what: `${name}, which only parses`,
      run: async () => parsers.run(name),
    })),
    { what: "R2.get, which only reads", run: async () => parsers.run("read") },
  ];
  const speeds = runs.map((): number[] => []);
  for (const { run } of runs) await run(); // loads the code, and lets the compiler see what is hot
  for (let round = 1; round <= ROUNDS; round++)
    for (const [i, { what, run }] of runs.entries()) {
      console.error(`round ${round} of ${ROUNDS}: ${what} …`);
      const startMs = performance.now();
      await run();
      speeds[i]?.push(size / 1e3 / (performance.now() - startMs));
    }
  const [own = [], udsv = [], papaparse = []] = speeds;
  const fastest = Math.max(median(udsv), median(papaparse));
  const column = (name: string, of: (values: number[]) => number) => ({
    name,
    figures: runs.map(({ what }, i) => ({ what, value: of(speeds[i] ?? []), digits: 1 })),
  });
  const columns = [
    column("MB/s", median),
    column("best", (values) => Math.max(...values)),
    column("÷ the fastest parser", (values) => median(values) / fastest),
  ];
  return { columns, share: median(own) / fastest };
}

/** How far the peak is above what is resident when the server is idle after it has done all of this once, in MiB. */
async function measureGrowth({ url, pid }: RunningMiniflare): Promise<number> {
  if (pid === undefined) return Number.NaN;
  await store(`${url}/files/warm.csv`, MIB);
  await analyze(url, "warm.csv");
  console.error("memory: storing 1 GiB …");
  const size = await store(`${url}/files/long.csv`, LONG_BYTES);
  await idle();
  const idleBytes = readMemory(pid)?.nowBytes ?? Number.NaN;
  resetPeak(pid);
  console.error("memory: analysing 1 GiB …");
  const result = await analyze(url, "long.csv");
  if (result.size !== size) throw new Error("not all of the file was analysed");
  const growthMib = ((readMemory(pid)?.peakBytes ?? Number.NaN) - idleBytes) / MIB;
  console.error(`memory: ${growthMib.toFixed(0)} MiB above idle`);
  return growthMib;
}

/** Long enough for the runtime to give back what it no longer needs. */
const idle = async () => new Promise((resolve) => setTimeout(resolve, 15_000));

/** PUTs a new CSV file; returns its size. */
async function store(url: string, size: number): Promise<number> {
  let sent = 0;
  const body = Readable.from(counted(makeCsv(size), (bytes) => (sent += bytes)));
  const response = await fetch(url, { method: "PUT", body, duplex: "half" } as RequestInit);
  if (!response.ok) throw new Error(`The file was not stored: ${await response.text()}`);
  await response.arrayBuffer();
  return sent;
}

function* counted(pieces: Iterable<Uint8Array>, add: (bytes: number) => void): Generator<Uint8Array> {
  for (const piece of pieces) {
    add(piece.length);
    yield piece;
  }
}

/** Resolves to the result of the task, as soon as it has succeeded. */
async function analyze(url: string, fileId: string) {
  const response = await fetch(`${url}/tasks`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Prefer: "wait=20" },
    body: JSON.stringify({ type: "analyze_file", input: { fileId } }),
  });
  const { id } = z.object({ id: z.string() }).parse(await response.json());
  for (;;) {
    const task = taskSchema.parse(await (await fetch(`${url}/tasks/${id}`)).json());
    if (task.status === "failed") throw new Error(`It has failed: ${JSON.stringify(task.error)}`);
    if (task.result) return task.result;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function startParsers() {
  const script = join(DIST, "parsers.js");
  await build({
    entryPoints: [join(ROOT, "bench/jobs/worker.ts")],
    outfile: script,
    bundle: true,
    format: "esm",
    logLevel: "error",
  });
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
  const url = await miniflare.ready;
  const run = async (name: string) => {
    const response = await fetch(`${url.origin}/${name}`, { method: "POST" });
    if (!(Number(await response.text()) > 0)) throw new Error(`${name} has read nothing`);
  };
  return { url: url.origin, run, [Symbol.asyncDispose]: async () => miniflare.dispose() };
}
