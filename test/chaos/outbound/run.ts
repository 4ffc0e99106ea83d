/**
 * `npm run chaos -- outbound`: breaks what can break, and checks that the promises hold all the same.
 *
 *     --seconds 60    how long the chaos goes on; a freeze that has begun outlasts it
 *     --seed 123      repeats what was done in an earlier run
 *     --only crash,kill,freeze,burst    some of what is done; clients always come and go
 *     --verbose       what the Workers log
 *
 * Then the same check once more on a semaphore that keeps its leases in memory only: a check that cannot fail would
 * show nothing. The exit code is 1 if a promise is broken, or if the control keeps them all.
 */
import { parseArgs } from "node:util";
import type { Promised } from "../promised.ts";
import { type ChaosOptions, runChaos } from "./strike.ts";
import { findRecoveries, judge, type Record, tally } from "./verdict.ts";

const KINDS = ["crash", "kill", "freeze", "burst"] as const;
/** The control needs no longer to fail. */
const CONTROL_SECONDS = 5;

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
  const promises = await perform({ ...watch, seconds, seed, leases: "kept", kinds });
  const isKept = promises.every((promise) => promise.isKept);
  console.log(
    "\nNegative control: leases in memory only, crashes and resets only. The first promise must break.",
  );
  const control = { ...watch, seconds: CONTROL_SECONDS, seed };
  const [limit] = await perform({ ...control, leases: "memory", kinds: ["crash"] });
  const hasFailed = limit?.isKept === false;
  console.log(
    `\n${isKept ? "All promises kept" : "PROMISES BROKEN"}; ${hasFailed ? "the control broke its own, as it must." : "THE CONTROL DID NOT FAIL."}`,
  );
  return isKept && hasFailed;
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
  const { order, seen } = record;
  console.log("\n  calls");
  for (const [name, count] of tally(record)) console.log(`    ${String(count).padStart(6)}  ${name}`);
  console.log(
    `    ${String(seen.brokenOff).padStart(6)}  broken off at the upstream, ${seen.tooMany} answered 429 by it`,
  );
  console.log("  time to recover, ms, from the blow to the first good answer to a call made after it");
  const recoveries = findRecoveries(record);
  for (const [after, those] of Map.groupBy(recoveries, (recovery) => recovery.after)) {
    const ms = those.map((recovery) => recovery.ms).toSorted((a, b) => a - b);
    const at = (share: number) => String(Math.round(ms[Math.ceil(share * ms.length) - 1] ?? 0)).padStart(6);
    console.log(
      `    ${after.padEnd(20)} ${String(ms.length).padStart(4)} ×   p50 ${at(0.5)}   p99 ${at(0.99)}   max ${at(1)}`,
    );
  }
  const { overtaken, granted, mostOvertaken, lives } = order;
  console.log(
    `  over ${lives} lives of the object, ${overtaken} of ${granted} calls were overtaken, by ${mostOvertaken} at most`,
  );
  for (const line of explainOver(record)) console.log(line);
  console.log("");
}

/** The moments over the limit, with what had been done just before. */
function explainOver({ seen, blows, startedAtMs }: Record): string[] {
  const since = (ms: number) => `${((ms - startedAtMs) / 1000).toFixed(3)} s`;
  return seen.over.map(({ atMs, calls, until }) => {
    const ages = calls.map((call) => `${call.id} (${Math.round(atMs - call.atMs)} ms)`).join(", ");
    const before = blows.flatMap(({ is, atMs: fromMs, untilMs }) => {
      if (fromMs > atMs || untilMs < atMs - 500) return [];
      return untilMs < atMs ? [`${is} over at ${since(untilMs)}`] : [`${is} since ${since(fromMs)}`];
    });
    const end =
      until &&
      `for ${until.ms.toFixed(1)} ms, until ${until.id} ${until.isBrokenOff ? "broke off" : "ended"}`;
    return `  over the limit at ${since(atMs)} ${end}: ${ages}; ${before.join(", ")}`;
  });
}
