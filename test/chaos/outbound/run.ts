/**
 * `npm run chaos -- outbound`: breaks what can break, and checks that the promises still hold.
 *
 *     --seconds 60    how long the chaos lasts; a freeze that has begun may last longer
 *     --seed 123      repeats the faults of an earlier run
 *     --only crash,kill,freeze,burst    only some of the faults; clients always come and go
 *     --verbose       show what the Workers log
 *
 * Then it runs the same check on a semaphore that keeps its leases in memory only, on one that grants once more what is
 * handed on, and on one that knows no keys and weights: a check that cannot fail would prove nothing. The exit code is 1 if a promise is broken, or if a control does
 * not break one.
 */
import { parseArgs } from "node:util";
import type { Promised } from "../promised.ts";
import { type ChaosOptions, runChaos } from "./faults.ts";
import { findRecoveries, judge, type Record, tally } from "./verdict.ts";

const KINDS = ["crash", "kill", "freeze", "burst"] as const;
/** Long enough for the control to fail. */
const CONTROL_SECONDS = 8;
const SHARDED_SHARE = 0.35;

export async function run(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string", default: "60" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      only: { type: "string", default: KINDS.join(",") },
      verbose: { type: "boolean", default: false },
    },
  });
  const seconds = Number(values.seconds);
  const seed = Number(values.seed);
  const only = values.only.split(",").filter(Boolean);
  const kinds = KINDS.filter((kind) => only.includes(kind));
  if (!(seconds > 0) || !Number.isInteger(seed) || kinds.length !== only.length) {
    console.error(
      "usage: npm run chaos -- outbound [--seconds 60] [--seed 123] [--only crash,kill,…] [--verbose]",
    );
    process.exit(2);
  }
  const watch = values.verbose ? { onWarning: (line: string) => console.error(line) } : {};
  console.log(
    `Chaos for ${seconds} s, seed ${seed}: \`npm run chaos -- outbound --seconds ${seconds} --seed ${seed}\``,
  );
  const promises = await perform({
    ...watch,
    seconds,
    seed,
    shardedShare: SHARDED_SHARE,
    leases: "kept",
    kinds,
  });
  const isKept = promises.every((promise) => promise.isKept);
  const control = { ...watch, seconds: CONTROL_SECONDS, seed, shardedShare: 0 };
  console.log(
    "\nNegative control: leases in memory only, crashes and client resets only. The first promise must break.",
  );
  const [forgetful] = await perform({ ...control, leases: "memory", kinds: ["crash"] });
  console.log("\nNegative control: what is handed on is granted once more. The first promise must break.");
  const [doubling] = await perform({ ...control, leases: "doubled", kinds: [] });
  console.log("\nNegative control: no keys and weights. The promise about limit keys must break.");
  const keyless = await perform({ ...control, shardedShare: SHARDED_SHARE, leases: "keyless", kinds: [] });
  const aboutKeys = keyless.filter(({ what }) => what.includes("limit key"));
  const haveFailed = [forgetful, doubling, ...aboutKeys].every((promise) => promise?.isKept === false);
  console.log(
    `\n${isKept ? "All promises kept" : "PROMISES BROKEN"}; ${haveFailed ? "the controls broke their promise, as they must." : "A CONTROL DID NOT FAIL."}`,
  );
  return isKept && haveFailed;
}

async function perform(options: ChaosOptions): Promise<Promised[]> {
  const record = await runChaos(options);
  const promises = judge(record);
  describe(record);
  for (const { what, isKept, measured } of promises)
    console.log(`  ${isKept ? "kept  " : "BROKEN"}  ${what}: ${measured}`);
  return promises;
}

function describe(record: Record): void {
  const { order, seen, seenSharded } = record;
  console.log("\n  calls");
  for (const [name, count] of tally(record)) console.log(`    ${String(count).padStart(6)}  ${name}`);
  console.log(
    `    ${String(seen.brokenOff + seenSharded.brokenOff).padStart(6)}  broken off at the upstreams, which sent ${seen.tooMany + seenSharded.tooMany} responses of 429`,
  );
  console.log("  time to recover, ms, from the fault to the first good response to a call made after it");
  const recoveries = findRecoveries(record);
  for (const [after, those] of Map.groupBy(recoveries, (recovery) => recovery.after)) {
    const ms = those.map((recovery) => recovery.ms).toSorted((a, b) => a - b);
    const at = (share: number) => String(Math.round(ms[Math.ceil(share * ms.length) - 1] ?? 0)).padStart(6);
    console.log(
      `    ${after.padEnd(20)} ${String(ms.length).padStart(4)} ×   p50 ${at(0.5)}   p99 ${at(0.99)}   max ${at(1)}`,
    );
  }
  const { overtaken, granted, maxOvertakers, lives } = order;
  console.log(
    `  over ${lives} lives of the object, ${overtaken} of ${granted} calls were overtaken, by ${maxOvertakers} at most`,
  );
  for (const line of explainOver(record)) console.log(line);
  console.log("");
}

/** The moments over the limit, with the faults just before each. */
function explainOver({ seen, seenSharded, faults, startedAtMs }: Record): string[] {
  const since = (ms: number) => `${((ms - startedAtMs) / 1000).toFixed(3)} s`;
  return [...seen.over, ...seenSharded.over].map(({ atMs, calls, until }) => {
    const ages = calls.map((call) => `${call.id} (${Math.round(atMs - call.atMs)} ms)`).join(", ");
    const before = faults.flatMap(({ is, atMs: fromMs, untilMs }) => {
      if (fromMs > atMs || untilMs < atMs - 500) return [];
      return untilMs < atMs ? [`${is} over at ${since(untilMs)}`] : [`${is} since ${since(fromMs)}`];
    });
    const end =
      until &&
      `for ${until.ms.toFixed(1)} ms, until ${until.id} ${until.isBrokenOff ? "broke off" : "ended"}`;
    return `  over the limit at ${since(atMs)} ${end}: ${ages}; ${before.join(", ")}`;
  });
}
