/**
 * `npm run demo`: starts Sluice with the demo upstream, stores the sample files, runs each job once, and shows in two lines
 * what it was asked and what came of it. It ends by itself: with 0 if every job has succeeded, else with 1.
 *
 * It asks Sluice which jobs there are (`GET /task-types`). All run at once, as clients would have it, and are shown in the
 * order in which they end. Nothing is kept.
 */
import { z } from "zod";
import { EXAMPLES, INTERNAL } from "./examples.ts";
import { startDemo } from "./start.ts";

const MAX_LINE_LENGTH = 400;
/** What the runtime logs is shown if something fails. */
const MAX_LOG_LINES = 20;

const taskTypesSchema = z.object({
  taskTypes: z.array(
    z.object({
      name: z.string(),
      available: z.boolean().optional(),
      unavailableReason: z.string().nullish(),
    }),
  ),
});
const linkSchema = z.object({ id: z.string(), url: z.string() });
const taskSchema = z.object({ status: z.string(), result: z.unknown(), error: z.unknown() });
const progressSchema = z.object({ ratio: z.number(), message: z.string().nullish() });

/** What came of a job. */
interface Ending {
  isGood: boolean;
  text: string;
}

async function main(): Promise<number> {
  const log: string[] = [];
  await using sluice = await startDemo((message) => void log.push(message));
  const types = await typesOf(sluice.url);
  const able = types.filter(({ name, available }) => available !== false && EXAMPLES[name]);
  const endings = await Promise.all(
    able.map(async ({ name }) => show(sluice.url, name, EXAMPLES[name] ?? {})),
  );
  const failed = endings.filter(({ isGood }) => !isGood).length;
  for (const { name, available, unavailableReason } of types)
    if (available === false) print(name, `cannot run here: ${unavailableReason ?? ""}`);
    else if (!EXAMPLES[name] && !INTERNAL.has(name))
      print(name, "has no example in scripts/demo/examples.ts");
  console.log(`${endings.length - failed} of ${endings.length} jobs succeeded.`);
  if (failed > 0) console.log(log.slice(-MAX_LOG_LINES).join("\n"));
  return failed === 0 ? 0 : 1;
}

const typesOf = async (url: string) =>
  taskTypesSchema.parse(await (await fetch(`${url}/task-types`)).json()).taskTypes;

/** Runs a job, and shows both of its lines when it has ended. */
async function show(url: string, type: string, input: object): Promise<Ending> {
  const startedAtMs = performance.now();
  const ending = await run(url, type, input);
  const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
  print(type, JSON.stringify(input));
  print("", `${ending.isGood ? "→" : "FAILED"} ${seconds} s${ending.text}`);
  return ending;
}

async function run(url: string, type: string, input: object): Promise<Ending> {
  const response = await fetch(`${url}/tasks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type, input }),
  });
  if (!response.ok) return { isGood: false, text: `: ${await response.text()}` };
  const link = linkSchema.parse(await response.json());
  const progress = await lastProgress(`${url}/tasks/${link.id}/events`);
  const { status, result, error } = taskSchema.parse(await (await fetch(`${url}/tasks/${link.id}`)).json());
  const isGood = status === "succeeded";
  return { isGood, text: `${progress}: ${JSON.stringify(isGood ? result : error)}` };
}

/** Follows the events of a task to its end. Returns what it reported last, as text. */
async function lastProgress(url: string): Promise<string> {
  const events = (await (await fetch(url)).text()).split("\n\n");
  const reports = events.flatMap((event) => {
    const [, data] = /^event: progress\ndata: (.*)$/m.exec(event) ?? [];
    return data === undefined ? [] : [progressSchema.parse(JSON.parse(data))];
  });
  const last = reports.at(-1);
  if (!last) return "";
  return `, ${Math.round(last.ratio * 100)} %${last.message ? ` (${last.message})` : ""}`;
}

function print(name: string, text: string): void {
  const line = `${name.padEnd(16)} ${text}`;
  console.log(line.length > MAX_LINE_LENGTH ? `${line.slice(0, MAX_LINE_LENGTH)}…` : line);
}

process.exitCode = await main();
