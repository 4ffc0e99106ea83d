/**
 * Files: how fast each way in and out is, beside R2 alone and other servers; how much memory uploads take; and what it
 * costs to start the Worker.
 */
import { findPython, PACKAGES, startFastApi } from "../fastapi/start.ts";
import { renderTable } from "../table.ts";
import { renderTargets, type Target } from "../targets.ts";
import { type Growth, measureCrowd, measureGrowth } from "./memory.ts";
import { startPlainR2, startSluice, startTusServer } from "./servers.ts";
import { measureReads, measureSpeeds, type Run, SIZE } from "./speed.ts";
import { measureStartup } from "./startup.ts";
import { sendForm, sendPlain, sendRaw, sendTus } from "./ways.ts";

const MIB = 1024 * 1024;
const CHUNK = 16 * MIB;

/** What each way of ours should reach, and what it was before one put, the platform's hash and larger chunks. */
const WAYS = [
  { what: "PUT /files/{id}", atLeast: 0.95, before: "0.91", growthBefore: "42" },
  { what: "form data", atLeast: 0.95, before: "0.77", growthBefore: "49" },
  { what: "tus, one PATCH", atLeast: 0.8, before: "0.57", growthBefore: "84" },
  { what: "tus, 16 MiB chunks", atLeast: 0.8, before: "0.54", growthBefore: "106" },
] as const;

const toFile = (upload: string) => upload.replace("/uploads/", "/files/");

const SENDERS = {
  "PUT /files/{id}": sendRaw("/files/bench.bin"),
  "form data": sendForm,
  "tus, one PATCH": sendTus("/uploads", 5_000 * MIB, toFile),
  "tus, 16 MiB chunks": sendTus("/uploads", CHUNK, toFile),
};

/** Runs the measurements; returns the text to print. */
export async function benchFiles(): Promise<string> {
  const startupMs = measureStartup();
  const { speeds, reads, hasFastApi } = await compareSpeeds();
  console.error("memory: R2.put alone …");
  const plain = await measureGrowth(startPlainR2, sendPlain);
  const growths = new Map<string, Growth>();
  for (const { what } of WAYS) {
    console.error(`memory: ${what} …`);
    const growth = await measureGrowth(startSluice, SENDERS[what]);
    if (growth) growths.set(what, growth);
  }
  const targets: Target[] = WAYS.map(({ what, atLeast, before }) => ({
    what: `${what} ÷ R2.put`,
    before,
    value: speeds.ratios.get(what) ?? Number.NaN,
    atLeast,
  }));
  targets.push({ what: "GET ÷ R2.get", before: "", value: reads.ratio, atLeast: 0.95 });
  for (const { what, growthBefore } of WAYS) {
    targets.push({
      what: `${what}: growth of its peak from 64 MiB to 1 GiB, MiB, beyond that of R2.put`,
      before: growthBefore,
      value: (growths.get(what)?.growthMib ?? Number.NaN) - (plain?.growthMib ?? Number.NaN),
      digits: 0,
      atMost: 64,
    });
  }
  targets.push({
    what: "30 uploads at once: MiB in buffers",
    before: "",
    value: await measureCrowd(),
    atMost: 64,
  });
  return [
    renderTable(speeds.columns),
    "",
    renderTable(reads.columns),
    "",
    `Growth of R2.put alone: ${plain?.growthMib.toFixed(0) ?? "?"} MiB. Start-up of the Worker: ${startupMs.toFixed(0)} ms of CPU.`,
    "",
    renderTargets(targets),
    "",
    hasFastApi ? "" : `FastAPI is not measured: Python 3 does not have all of ${PACKAGES.join(", ")} here.`,
    "R2 is simulated here in the same process as the Worker, so the memory is that of both.",
    "Before: without what R2.put grows by being subtracted.",
  ].join("\n");
}

async function compareSpeeds() {
  await using stack = new AsyncDisposableStack();
  const r2 = stack.use(await startPlainR2());
  const sluice = stack.use(await startSluice());
  const tusServer = stack.use(await startTusServer());
  const python = findPython();
  const fastApi = python && stack.use(await startFastApi(python, "http://127.0.0.1:1"));
  const runs: Run[] = [
    { what: "R2.put alone", server: r2, send: sendPlain },
    ...WAYS.map(({ what }) => ({ what, server: sluice, send: SENDERS[what] })),
    { what: "@tus/server, file store, one PATCH", server: tusServer, send: sendTus("/uploads", SIZE) },
  ];
  if (fastApi) {
    const server = { ...fastApi.uploads, [Symbol.asyncDispose]: async () => {} };
    runs.push({ what: "FastAPI, form data", server, send: sendForm });
  }
  const speeds = await measureSpeeds(runs);
  return { speeds, reads: await measureReads(r2, sluice), hasFastApi: Boolean(fastApi) };
}
