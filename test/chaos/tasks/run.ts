/**
 * `npm run chaos -- tasks`: kills the runtime in the middle of tasks, and checks that every promise holds.
 *
 *     --kills 100     how many SIGKILLs; crashes of objects, reloads and corrupted rows come on top
 *     --seed 123      repeats the actions of an earlier run
 *     --verbose       prints the Worker's log
 *     --save FILE     writes the whole history to a file, as JSON
 *
 * Then it shows that the checks can fail: each check gets a copy of the history in which its promise is broken
 * (doctor.ts), and a Worker that breaks some of the promises (worker.ts) runs as well. The run is successful if all
 * promises were kept and both controls failed.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type ChaosOptions, runChaos } from "./chaos.ts";
import { checkNothingLost, checkSteps } from "./checks.ts";
import { type History, isTerminal } from "./history.ts";
import { checkCaps, checkTimes } from "./order.ts";
import { atShare, findRecoveries, seconds } from "./recovery.ts";
import { checkSignals } from "./signals.ts";
import { CHECKS, judge, judgeDoctored, type Verdict } from "./verdict.ts";

/** How many faults are printed for each promise. */
const MAX_FAULTS = 12;

/** Enough kills to detect the sabotaged Worker. */
const CONTROL_KILLS = 3;
/** The promises that it breaks: tasks are lost, steps repeated, caps exceeded, times not kept, signals received twice. */
const SABOTAGED = [checkNothingLost, checkSteps, checkCaps, checkTimes, checkSignals];

interface Options extends Omit<ChaosOptions, "isSabotaged"> {
  save: string;
}

export async function run(args: string[]): Promise<boolean> {
  const options = readOptions(args);
  if (!options) {
    console.error("usage: npm run chaos -- tasks [--kills 100] [--seed 123] [--verbose] [--save FILE]");
    process.exit(2);
  }
  const { kills, seed, save } = options;
  console.log(
    `Chaos: ${kills} kills, seed ${seed}: \`npm run chaos -- tasks --kills ${kills} --seed ${seed}\``,
  );
  const history = await runChaos({ ...options, isSabotaged: false });
  if (save) writeFileSync(save, JSON.stringify(history, plain));
  describe(history);
  const verdicts = judge(history, CHECKS);
  for (const verdict of verdicts) printVerdict(verdict, MAX_FAULTS);
  const isKept = verdicts.every((verdict) => verdict.isKept);
  const hasFailed = [showsDoctored(history), await showsSabotage(options)].every(Boolean);
  console.log(
    `\n${isKept ? "All promises kept" : "PROMISES BROKEN"}; ${hasFailed ? "the controls broke theirs, as they must." : "A CONTROL DID NOT FAIL."}`,
  );
  return isKept && hasFailed;
}

function showsDoctored(history: History): boolean {
  const doctored = judgeDoctored(history);
  const blind = doctored.filter(({ isKept }) => isKept);
  console.log(
    `\nNegative control: the history, falsified for each check. ${doctored.length - blind.length} of ${doctored.length} checks noticed.`,
  );
  for (const verdict of blind) printVerdict(verdict, 1);
  return blind.length === 0;
}

async function showsSabotage(options: Options): Promise<boolean> {
  console.log("\nNegative control: a Worker that breaks promises. All of these must be reported as broken.");
  const history = await runChaos({ ...options, kills: CONTROL_KILLS, isSabotaged: true });
  const verdicts = judge(history, SABOTAGED);
  for (const verdict of verdicts) printVerdict(verdict, 1);
  return verdicts.every(({ isKept }) => !isKept);
}

function printVerdict({ what, isKept, measured, faults }: Verdict, maxFaults: number): void {
  console.log(`  ${isKept ? "kept  " : "BROKEN"}  ${what}: ${measured}`);
  for (const fault of faults.slice(0, maxFaults)) console.log(`            ${fault}`);
}

function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      kills: { type: "string", default: "100" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      verbose: { type: "boolean", default: false },
      save: { type: "string", default: "" },
    },
  });
  const [kills, seed] = [Number(values.kills), Number(values.seed)];
  const onLine = values.verbose ? (line: string) => console.error(line) : () => {};
  const isRight = Number.isInteger(kills) && kills > 0 && Number.isInteger(seed);
  return isRight ? { kills, seed, save: values.save, onLine } : undefined;
}

/** Makes arrays of maps and sets, which JSON does not have. */
const plain = (_key: string, value: unknown): unknown =>
  value instanceof Map || value instanceof Set ? [...value] : value;

function describe(history: History): void {
  const { submissions, acknowledged, tasks, executions, blows, followed, streams, spoilt } = history;
  const kills = blows.filter(({ is }) => is.startsWith("kill"));
  const cut = executions.filter(({ end }) => end === undefined).length;
  const crashed = [...tasks.values()].filter(({ error }) => error?.name === "Crashed").length;
  const events = [...followed, ...streams].reduce((sum, reading) => sum + reading.events.length, 0);
  const connections = followed.reduce((sum, reading) => sum + reading.connections, 0);
  console.log(`
  ${kills.length} kills, ${Math.round(history.tookMs / 1000)} s in all; all tasks had ended ${seconds(history.settledInMs)} after the last blow
${listCounts(blows.map(({ is }) => is))}
  ${submissions} submissions, ${acknowledged.size} tasks acknowledged, ${tasks.size} at the end
${listCounts([...tasks.values()].map(({ type, status }) => `${type} ${isTerminal(status) ? status : `STILL ${status}`}`))}
  ${executions.length} executions, ${cut} of them cut off; ${crashed} tasks failed after too many crashes
  ${events} events read; ${followed.length} streams followed over ${connections} connections
  corrupted
${listCounts(spoilt.map(({ column, status }) => `${column} while ${status}`))}
  time until an interrupted task begins again`);
  for (const [by, those] of Map.groupBy(findRecoveries(history), (recovery) => recovery.by)) {
    console.log(
      `    ${String(those.length).padStart(5)}  after a ${by}: ${describeTimes(those.map(({ ms }) => ms))}; since the next start: ` +
        `${describeTimes(those.map(({ sinceUpMs }) => sinceUpMs))}; time given: ${describeTimes(those.map(({ givenMs }) => givenMs))}`,
    );
  }
  console.log("  responses");
  for (const [what, count] of [...history.answers].toSorted(([a], [b]) => a.localeCompare(b)))
    console.log(`    ${String(count).padStart(6)}  ${what}`);
  console.log("");
}

function describeTimes(ms: number[]): string {
  const sorted = ms.toSorted((a, b) => a - b);
  return `p50 ${seconds(atShare(sorted, 0.5))} p99 ${seconds(atShare(sorted, 0.99))}`;
}

function listCounts(items: string[]): string {
  return [...Map.groupBy(items, (item) => item)]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([item, those]) => `    ${String(those.length).padStart(5)}  ${item}`)
    .join("\n");
}
