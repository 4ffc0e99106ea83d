/**
 * `npm run chaos -- forms`: sends form data that is wrong in every possible way to the built Worker.
 *
 *     --count 100000    the number of requests
 *     --seed 123        repeats an earlier run
 *     --only 4711       only the request with that number, with what the Worker logs about it
 *
 * attack.ts says what each response must be. When all acknowledged files are removed, nothing may be left: no object
 * in the bucket, no row in the catalogue. And the memory of the Worker must not grow.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { readMemory, resetPeak } from "../../../bench/support/memory.ts";
import { type RunningMiniflare, startMiniflare } from "../../../bench/support/miniflare.ts";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { attack, type Findings, removeFiles } from "./attack.ts";
import { type Holdings, readHoldings } from "./storage.ts";

const MIB = 1024 * 1024;
/**
 * Of the peak resident memory, from the first half to the second. Miniflare itself takes some hundred MiB more over
 * its first tens of thousands of requests, whatever they are, and then stops growing.
 */
const MAX_GROWTH = 300 * MIB;
/** How long it may take until discarded bytes are gone. */
const SETTLE_MS = 30_000;
const POLL_MS = 200;
const MAX_PRINTED = 10;

const FAILURE = /uncaught|unhandled|fatal/i;

export async function run(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      count: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      only: { type: "string" },
    },
  });
  const [count, seed, only] = [values.count, values.seed, values.only ?? "0"].map(Number);
  if (!isWhole(count) || !isWhole(seed) || !isWhole(only)) {
    console.error("usage: npm run chaos -- forms [--count 100000] [--seed 123] [--only 4711]");
    process.exit(2);
  }
  const isSingle = values.only !== undefined;
  console.log(`${count} forms, seed ${seed}: \`npm run chaos -- forms --count ${count} --seed ${seed}\``);

  const storage = makeTemporaryFolder();
  try {
    const failures: string[] = [];
    await using server = await startMiniflare(
      { ACCESS: "local" },
      {
        storageDir: storage.path,
        onLog: ({ level, message }) => {
          if (isSingle) console.log(`${level}: ${message}`);
          if (level === "error" || FAILURE.test(message)) failures.push(message);
        },
      },
    );
    if (isSingle) return await attackOnce(server.url, seed, only);
    return await attackAll(server, storage.path, { seed, count, failures });
  } finally {
    storage.remove();
  }
}

const isWhole = (number: number | undefined): number is number => Number.isSafeInteger(number);

async function attackOnce(url: string, seed: number, only: number): Promise<boolean> {
  const findings = await attack({ url, seed, first: only, count: 1 });
  describe(findings);
  return findings.broken.length === 0;
}

interface AttackPlan {
  seed: number;
  count: number;
  /** Failures in the log; grows during the attack. */
  failures: string[];
}

async function attackAll(
  server: RunningMiniflare,
  folder: string,
  { seed, count, failures }: AttackPlan,
): Promise<boolean> {
  const { url } = server;
  const half = Math.ceil(count / 2);
  const halves = [await attack({ url, seed, count: half })];
  const before = memoryOf(server);
  if (server.pid !== undefined) resetPeak(server.pid);
  halves.push(await attack({ url, seed, first: half, count: count - half }));
  const after = memoryOf(server);
  for (const findings of halves) describe(findings);

  const kept = halves.flatMap((findings) => findings.kept);
  const broken = halves.flatMap((findings) => findings.broken);
  const slowest = halves.map((findings) => findings.slowest).reduce((a, b) => (a.ms > b.ms ? a : b));
  const full = await settle(folder, ({ files, strays }) => files === kept.length && strays === 0);
  const notRemoved = await removeFiles(url, kept);
  const empty = await settle(folder, (holdings) => total(holdings) === 0);
  const growth = after && before && after.peakBytes - before.peakBytes;

  const promises: [what: string, isKept: boolean, measured: string][] = [
    [
      "every request gets the promised response",
      broken.length === 0,
      `${broken.length} are not; the slowest, ${slowest.number}, took ${Math.round(slowest.ms)} ms`,
    ],
    [
      "the catalogue holds what was acknowledged, and nothing else",
      full.files === kept.length && full.strays === 0 && full.objects === kept.length,
      `${kept.length} acknowledged, ${describeHoldings(full)}`,
    ],
    [
      "nothing is left once that is removed",
      notRemoved === 0 && total(empty) === 0,
      `${notRemoved} not removed, ${describeHoldings(empty)}`,
    ],
    [
      `workerd grows by less than ${MAX_GROWTH / MIB} MiB in the second half`,
      growth === undefined || growth < MAX_GROWTH,
      growth === undefined || !before || !after
        ? "cannot be measured here"
        : `${toMib(growth)} MiB, from a peak of ${toMib(before.peakBytes)} to one of ${toMib(after.peakBytes)}`,
    ],
    ["the log has no failure", failures.length === 0, `${failures.length} lines have one`],
  ];
  for (const [what, isKept, measured] of promises) {
    console.log(`  ${isKept ? "kept  " : "BROKEN"}  ${what}: ${measured}`);
  }
  for (const failure of failures.slice(0, MAX_PRINTED)) console.log(`  log: ${failure.slice(0, 1000)}`);
  return promises.every(([, isKept]) => isKept);
}

function describe({ outcomes, broken, kept, filesRead, tookMs }: Findings): void {
  const count = [...outcomes.values()].reduce((sum, times) => sum + times, 0);
  console.log(
    `  ${count} requests in ${(tookMs / 1000).toFixed(1)} s, ${Math.round((1000 * count) / tookMs)} a second`,
  );
  for (const [end, times] of [...outcomes].toSorted(([a], [b]) => a.localeCompare(b)))
    console.log(`    ${String(times).padStart(7)}  ${end}`);
  console.log(`    ${String(kept.length).padStart(7)}  files stored, ${filesRead} of them read again`);
  for (const { number, what, mutations, sent } of broken.slice(0, MAX_PRINTED)) {
    console.log(`  request ${number}: ${what}\n    ${mutations.join(", ") || "valid"}\n    ${sent}`);
  }
}

/** Reads the storage until it is right or the time is over. */
async function settle(folder: string, isRight: (holdings: Holdings) => boolean): Promise<Holdings> {
  const untilMs = Date.now() + SETTLE_MS;
  for (;;) {
    const holdings = readHoldings(folder);
    if (isRight(holdings) || Date.now() > untilMs) return holdings;
    await sleep(POLL_MS);
  }
}

const total = (holdings: Holdings) => Object.values(holdings).reduce((sum, count) => sum + count, 0);

const describeHoldings = ({ files, strays, objects, unfinishedUploads, blobs }: Holdings) =>
  `${files} files, ${strays} strays, ${objects} objects, ${unfinishedUploads} unfinished uploads, ${blobs} blobs on disk`;

const memoryOf = ({ pid }: RunningMiniflare) => (pid === undefined ? undefined : readMemory(pid));

const toMib = (bytes: number) => Math.round(bytes / MIB);
