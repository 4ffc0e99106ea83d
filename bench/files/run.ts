/**
 * Files: how fast each way of uploading is, beside an `R2.put` of the same bytes and beside other servers; and how
 * much memory grows with the size of a file.
 *
 * All servers run all the time, and in each round each gets one file, so that all of them see the same machine.
 */
import { findPython, PACKAGES, startFastApi } from "../fastapi/start.ts";
import { readMemory, resetPeak } from "../support/memory.ts";
import { type Column, type Figure, median, renderTable } from "../table.ts";
import { digestOf } from "../upload.ts";
import { type RunningServer, startPlainR2, startSluice, startTusServer } from "./servers.ts";
import { sendForm, sendPlain, sendRaw, sendTus, type Way } from "./ways.ts";

const MIB = 1024 * 1024;
const SIZE = 256 * MIB;
const ROUNDS = 5;
const SMALL = 64 * MIB;
const LARGE = 1024 * MIB;
const CHUNK = 16 * MIB;

interface Run {
  what: string;
  server: RunningServer;
  send: Way;
}

const toFile = (upload: string) => upload.replace("/uploads/", "/files/");

/** Runs the measurements; returns the text to print. */
export async function benchFiles(): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const r2 = stack.use(await startPlainR2());
  const sluice = stack.use(await startSluice());
  const tusServer = stack.use(await startTusServer());
  const python = findPython();
  const fastApi = python && stack.use(await startFastApi(python, "http://127.0.0.1:1"));
  const ours: Run[] = [
    { what: "PUT /files/{id}", server: sluice, send: sendRaw("/files/bench.bin") },
    { what: "form data", server: sluice, send: sendForm },
    { what: "tus, one PATCH", server: sluice, send: sendTus("/uploads", SIZE, toFile) },
    { what: `tus, ${CHUNK / MIB} MiB chunks`, server: sluice, send: sendTus("/uploads", CHUNK, toFile) },
  ];
  const plain: Run = { what: "R2.put alone", server: r2, send: sendPlain };
  const others: Run[] = [
    { what: "@tus/server, file store, one PATCH", server: tusServer, send: sendTus("/uploads", SIZE) },
  ];
  if (fastApi) {
    const server = { ...fastApi.uploads, [Symbol.asyncDispose]: async () => {} };
    others.push({ what: "FastAPI, form data", server, send: sendForm });
  }
  const speeds = await measureSpeeds([plain, ...ours, ...others]);
  const growth: Figure[] = [];
  for (const { what, send } of [plain, ...ours]) {
    growth.push(...(await measureGrowth(what, what === plain.what ? startPlainR2 : startSluice, send)));
  }
  return [
    renderTable(speeds),
    "",
    renderTable([{ name: "MiB", figures: growth }]),
    "",
    `Goal: PUT at least 0.8 × R2.put, form data and tus at least 0.5 ×; growth below 64 MiB.`,
    python ? "" : `FastAPI is not measured: Python 3 does not have all of ${PACKAGES.join(", ")} here.`,
    "R2 is simulated here in the same process as the Worker, so the memory is that of both.",
  ].join("\n");
}

/** For each run: the median speed, the best speed, and the median relative to the first run. */
async function measureSpeeds(runs: Run[]): Promise<Column[]> {
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
  return [
    column("MB/s", median, 0),
    column("best", (values) => Math.max(...values), 0),
    column("× R2.put", (values) => median(values) / base, 2),
  ];
}

/** How much higher memory peaks with a large file than with a small one, in a fresh server. */
async function measureGrowth(
  what: string,
  start: () => Promise<RunningServer>,
  send: Way,
): Promise<Figure[]> {
  await using server = await start();
  if (server.pid === undefined) return [];
  await send(server.url, SMALL); // loads the code and lets the runtime allocate its reserves
  console.error(`memory: ${what} …`);
  const peaks: number[] = [];
  for (const size of [SMALL, LARGE]) {
    resetPeak(server.pid);
    await send(server.url, size);
    peaks.push((readMemory(server.pid)?.peakBytes ?? Number.NaN) / MIB);
  }
  const [small = Number.NaN, large = Number.NaN] = peaks;
  return [
    { what: `${what}: peak with ${SMALL / MIB} MiB`, value: small, digits: 0 },
    { what: `${what}: growth to ${LARGE / MIB} MiB`, value: large - small, digits: 0 },
  ];
}
