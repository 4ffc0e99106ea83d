/**
 * `npm run chaos -- jobs`: kills the runtime in the middle of jobs of every kind, and checks what becomes of them.
 *
 *     --kills 40      the number of kills
 *     --seed 123      repeats an earlier run
 *     --verbose       prints the log of the Worker
 *
 * Then it shows that the checks can fail: each gets a copy of the history in which its promise is broken (doctor.ts), and a
 * Worker whose jobs are naive (sabotage.ts) is killed as well. The run is successful if all promises were kept and both
 * controls failed.
 */
import { parseArgs } from "node:util";
import { type ChaosOptions, runChaos, runControl } from "./chaos.ts";
import { CHECKS, type Check, judge, type Verdict } from "./checks.ts";
import { DAMAGES } from "./doctor.ts";
import type { History } from "./history.ts";
import { SABOTAGED } from "./sabotage.ts";

const MAX_FAULTS = 12;
const ALL = Object.keys(CHECKS) as Check[];

export async function run(args: string[]): Promise<boolean> {
  const options = readOptions(args);
  if (!options) {
    console.error("usage: npm run chaos -- jobs [--kills 40] [--seed 123] [--verbose]");
    process.exit(2);
  }
  const { kills, seed } = options;
  console.log(
    `Chaos: ${kills} kills, seed ${seed}: \`npm run chaos -- jobs --kills ${kills} --seed ${seed}\``,
  );
  const history = await runChaos(options);
  describe(history);
  const verdicts = ALL.map((check) => judge(history, check));
  for (const verdict of verdicts) print(verdict, MAX_FAULTS);
  const isKept = verdicts.every((verdict) => verdict.isKept);
  const hasFailed = [showDoctored(history), await showSabotaged(options)].every(Boolean);
  console.log(
    `\n${isKept ? "All promises kept" : "PROMISES BROKEN"}; ${hasFailed ? "the controls broke theirs, as they must." : "A CONTROL DID NOT FAIL."}`,
  );
  return isKept && hasFailed;
}

function readOptions(args: string[]): ChaosOptions | undefined {
  const { values } = parseArgs({
    args,
    options: {
      kills: { type: "string", default: "40" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      verbose: { type: "boolean", default: false },
    },
  });
  const [kills, seed] = [Number(values.kills), Number(values.seed)];
  const onLine = values.verbose ? (line: string) => console.error(line) : () => {};
  return Number.isInteger(kills) && kills > 0 && Number.isInteger(seed) ? { kills, seed, onLine } : undefined;
}

function showDoctored(history: History): boolean {
  const blind = ALL.filter((check) => {
    const copy = structuredClone(history);
    DAMAGES[check](copy);
    return judge(copy, check).isKept;
  });
  console.log(
    `\nNegative control: the history, falsified for each check. ${ALL.length - blind.length} of ${ALL.length} checks noticed.`,
  );
  for (const check of blind) console.log(`  BLIND   ${check}`);
  return blind.length === 0;
}

async function showSabotaged(options: ChaosOptions): Promise<boolean> {
  console.log("\nNegative control: a Worker whose jobs are naive. All of these must be reported as broken.");
  const history = await runControl(options);
  describe(history);
  const verdicts = SABOTAGED.map((check) => judge(history, check));
  for (const verdict of verdicts) print(verdict, 1);
  return verdicts.every(({ isKept }) => !isKept);
}

function print({ what, isKept, measured, faults }: Verdict, maxFaults: number): void {
  console.log(`  ${isKept ? "kept  " : "BROKEN"}  ${what}: ${measured}`);
  for (const fault of faults.slice(0, maxFaults)) console.log(`            ${fault}`);
}

function describe({ kills, ended, tookMs }: History): void {
  const cut = ended.flatMap(({ kind, cuts }) => Array.from({ length: cuts }, () => kind));
  const never = ended.map(({ kind }) => kind).filter((kind) => !cut.includes(kind));
  console.log(`
  ${kills.length} kills (${listCounts(kills)}), ${ended.length} jobs, ${Math.round(tookMs / 1000)} s
  ${cut.length} jobs were cut in their middle: ${listCounts(cut)}
  never cut: ${[...new Set(never)].join(", ") || "none"}
`);
}

const listCounts = (items: string[]): string =>
  [...Map.groupBy(items, (item) => item)]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([item, those]) => `${those.length} × ${item}`)
    .join(", ");
