/**
 * `npm run chaos -- values`: tasks that return, throw, log and report random JavaScript values.
 *
 *     --count 1000    the number of tasks
 *     --seed 123      repeats an earlier run
 *     --only 4711     only the task with that number, with what the Worker logs
 *
 * Each task follows a plan (plan.ts), and checks.ts says what must become of it. Then a Worker that handles the values
 * as JavaScript does by default runs the same tasks (worker.ts). All promises must be broken there, or the run fails.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, promisify } from "node:util";
import { z } from "zod";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { ROOT, startWorkerd } from "../../../bench/support/workerd.ts";
import { type Ended, judge, type Outcome, type Verdict } from "./checks.ts";
import { planOf, typeOf } from "./plan.ts";

const BATCH = 100;
const SETTLE_MS = 60_000;
const POLL_MS = 100;
const REQUEST_MS = 30_000;
const MAX_LINE_LENGTH = 100_000;
const MAX_FAULTS = 12;

export async function run(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      count: { type: "string", default: "1000" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      only: { type: "string" },
    },
  });
  const [count = 0, seed = 0, only = 0] = [values.count, values.seed, values.only ?? "0"].map(Number);
  if (![count, seed, only].every(Number.isSafeInteger) || count < 1) {
    console.error("usage: npm run chaos -- values [--count 1000] [--seed 123] [--only 4711]");
    process.exit(2);
  }
  const isSingle = values.only !== undefined;
  const numbers = isSingle ? [only] : Array.from({ length: count }, (_, number) => number);
  console.log(
    `${numbers.length} tasks, seed ${seed}: \`npm run chaos -- values --count ${count} --seed ${seed}\``,
  );

  const folder = makeTemporaryFolder();
  try {
    const main = await build(folder.path);
    const verdicts = judge(await submitAll({ main, seed, numbers, isSabotaged: false, isVerbose: isSingle }));
    for (const verdict of verdicts) print(verdict, MAX_FAULTS);
    if (isSingle) return verdicts.every(({ faults }) => faults.length === 0);
    console.log("\nNegative control: a Worker that takes values as they come. All of these must be broken.");
    const control = judge(await submitAll({ main, seed, numbers, isSabotaged: true, isVerbose: false }));
    for (const verdict of control) print(verdict, 1);
    const isKept = verdicts.every((verdict) => verdict.isKept);
    const hasFailed = control.every((verdict) => !verdict.isKept);
    console.log(
      `\n${isKept ? "All promises kept" : "PROMISES BROKEN"}; ${hasFailed ? "the control broke them, as it must." : "THE CONTROL DID NOT FAIL."}`,
    );
    return isKept && hasFailed;
  } finally {
    folder.remove();
  }
}

function print({ what, isKept, measured, faults }: Verdict, maxFaults: number): void {
  console.log(`  ${isKept ? "kept  " : "BROKEN"}  ${what}: ${measured}`);
  for (const fault of faults.slice(0, maxFaults)) console.log(`            ${fault}`);
}

async function build(folder: string): Promise<string> {
  const wrangler = join(ROOT, "node_modules/.bin/wrangler");
  const entry = join(import.meta.dirname, "worker.ts");
  await promisify(execFile)(wrangler, ["deploy", "--dry-run", "--outdir", folder, entry], { cwd: ROOT });
  return join(folder, "worker.js");
}

interface Submission {
  main: string;
  seed: number;
  numbers: number[];
  isSabotaged: boolean;
  isVerbose: boolean;
}

/** Runs the tasks to their ends, and returns what became of them. */
async function submitAll({ main, seed, numbers, isSabotaged, isVerbose }: Submission): Promise<Outcome> {
  const outcome: Outcome = { seed, ended: [], told: new Map(), leftovers: new Set(), badLines: [] };
  await using server = await startWorkerd({
    main,
    vars: { ACCESS: "local", DATA_UPSTREAM: "demo", SABOTAGE: String(isSabotaged) },
    onLine: (line) => {
      if (isVerbose) console.log(line.slice(0, 1_000));
      readLine(line, outcome);
    },
  });
  for (let i = 0; i < numbers.length; i += BATCH)
    outcome.ended.push(...(await submitBatch(server.url, seed, numbers.slice(i, i + BATCH))));
  return outcome;
}

const lineSchema = z.object({ message: z.unknown(), taskId: z.string() });

function readLine(line: string, { told, leftovers, badLines }: Outcome): void {
  if (line.length > MAX_LINE_LENGTH) badLines.push(`a line of ${line.length} characters`);
  if (!line.startsWith("{")) return;
  try {
    const { success, data } = lineSchema.safeParse(JSON.parse(line));
    if (success && data.message === "left over") leftovers.add(data.taskId);
    if (success && data.message === "all told") told.set(data.taskId, (told.get(data.taskId) ?? 0) + 1);
  } catch {
    badLines.push(`not JSON: ${line.slice(0, 200)}`);
  }
}

const linksSchema = z.object({ tasks: z.array(z.object({ id: z.string() })) });
const taskSchema = z.object({
  id: z.string(),
  status: z.string(),
  attempt: z.int(),
  crashes: z.int(),
  result: z.unknown(),
  error: z.object({ name: z.string(), message: z.string() }).nullable(),
  progress: z.object({ ratio: z.number(), message: z.string().nullable() }).nullable(),
});

async function submitBatch(url: string, seed: number, numbers: number[]): Promise<Ended[]> {
  const body = numbers.map((number) => ({
    type: typeOf(planOf(seed, number).lane),
    input: { seed, number },
  }));
  const response = await fetch(`${url}/tasks`, {
    signal: AbortSignal.timeout(REQUEST_MS),
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const { tasks } = linksSchema.parse(await response.json());
  const untilMs = Date.now() + SETTLE_MS;
  return Promise.all(
    tasks.map(async ({ id }, i) => ({ number: numbers[i] ?? -1, task: await readEnded(url, id, untilMs) })),
  );
}

/** The task, once it has ended, or as it is when the time is over. */
async function readEnded(url: string, id: string, untilMs: number): Promise<Ended["task"]> {
  for (;;) {
    const task = taskSchema.parse(
      await (await fetch(`${url}/tasks/${id}`, { signal: AbortSignal.timeout(REQUEST_MS) })).json(),
    );
    if (["succeeded", "failed"].includes(task.status) || Date.now() > untilMs) return task;
    await sleep(POLL_MS);
  }
}
