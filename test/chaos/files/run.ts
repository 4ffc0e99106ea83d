/**
 * `npm run chaos -- files`: kills the runtime in the middle of resumable uploads, and checks that nothing is lost.
 *
 *     --kills 50      the number of kills
 *     --seed 123      repeats an earlier run
 *     --verbose       prints the log of the Worker
 *
 * Then it makes the same checks on a server that is damaged on purpose (sabotage.ts): there, the first promises must
 * break. The result is whether all promises were kept and the control broke its own.
 */
import { parseArgs } from "node:util";
import type { Promised } from "../promised.ts";
import { type ChaosOptions, type Record, runChaos } from "./chaos.ts";
import { CONTROLLED, describeBytes, judge } from "./verdict.ts";

/** After each kill, the control goes back to what was stored at the first. */
const CONTROL_KILLS = 4;
const MAX_PRINTED = 20;

export async function run(args: string[]): Promise<boolean> {
  const options = readOptions(args);
  if (!options) {
    console.error("usage: npm run chaos -- files [--kills 50] [--seed 123] [--verbose]");
    process.exit(2);
  }
  const { kills, seed } = options;
  console.log(
    `Chaos: ${kills} kills, seed ${seed}: \`npm run chaos -- files --kills ${kills} --seed ${seed}\``,
  );
  const promises = await perform({ ...options, isControl: false });
  const isKept = promises.every((promise) => promise.isKept);
  console.log(
    `\nNegative control: a server that forgets, and damaged files. The first ${CONTROLLED} promises must break.`,
  );
  const control = await perform({ ...options, kills: CONTROL_KILLS, isControl: true });
  const hasFailed = control.slice(0, CONTROLLED).every((promise) => !promise.isKept);
  console.log(
    `\n${isKept ? "All promises kept" : "PROMISES BROKEN"}; ${hasFailed ? "the control broke its own, as it must." : "THE CONTROL DID NOT FAIL."}`,
  );
  return isKept && hasFailed;
}

function readOptions(args: string[]): Omit<ChaosOptions, "isControl"> | undefined {
  const { values } = parseArgs({
    args,
    options: {
      kills: { type: "string", default: "50" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      verbose: { type: "boolean", default: false },
    },
  });
  const [kills, seed] = [Number(values.kills), Number(values.seed)];
  const onLine = values.verbose ? (line: string) => console.error(line) : () => {};
  return Number.isInteger(kills) && kills > 0 && Number.isInteger(seed) ? { kills, seed, onLine } : undefined;
}

async function perform(options: ChaosOptions): Promise<Promised[]> {
  const record = await runChaos(options);
  describe(record);
  const promises = judge(record);
  for (const { what, isKept, measured } of promises)
    console.log(`  ${isKept ? "kept  " : "BROKEN"}  ${what}: ${measured}`);
  const max = options.isControl ? 0 : MAX_PRINTED;
  for (const line of explain(record).slice(0, max)) console.log(`    ${line}`);
  return promises;
}

function describe({ world, kills, aims, uploads, orphanFiles, collected, left, tookMs }: Record): void {
  const { history, looks } = world;
  const bytes = uploads.reduce((sum, upload) => sum + upload.bytes, 0);
  const resumed = history.responses.filter(({ method, status }) => method === "HEAD" && status < 300).length;
  const down = kills.map(({ downMs }) => downMs);
  const back = findRecoveries(world, kills);
  const empty = left.multiparts.filter(({ parts }) => parts === 0).length;
  console.log(`
  ${kills.length} kills: ${[...aims].map(([aim, count]) => `${count} at ${aim}`).join(", ")}
  ${uploads.length} uploads of ${describeBytes(bytes)}, ${resumed} resumptions; ${Math.round(tookMs / 1000)} s`);
  for (const [way, those] of Map.groupBy(uploads, (upload) => upload.way))
    console.log(`    ${String(those.length).padStart(4)}  ${way}`);
  console.log(`  ${[...world.counts].map(([what, count]) => `${count} × ${what}`).join(", ")}
  responses: ${[...world.responses]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([what, count]) => `${count} × ${what}`)
    .join(", ")}
  ms from a kill to a response of /healthz        ${describeTimes(down)}
  ms from a kill to a response about an upload    ${describeTimes(back)}
  ms of a HEAD beside a half-open connection      ${describeTimes(looks.map(({ headMs }) => headMs))}
  ${orphanFiles} files whose client got no response that they exist, ${empty} unfinished multipart uploads without
  parts, which R2 removes itself, and ${left.sessionAlarms} alarms that the runtime kept for objects without data; the
  bucket was empty ${Math.round(collected.afterMs)} ms after the last removal
`);
}

/** From each kill to the first response to a request that was made after it. */
function findRecoveries({ history }: Record["world"], kills: Record["kills"]): number[] {
  const { responses } = history;
  return kills.flatMap(({ atMs }) => {
    const ends = responses.filter(({ beganAtMs }) => beganAtMs > atMs).map(({ endedAtMs }) => endedAtMs);
    return ends.length === 0 ? [] : [Math.min(...ends) - atMs];
  });
}

function describeTimes(timesMs: number[]): string {
  const ms = timesMs.toSorted((a, b) => a - b);
  const at = (share: number) => String(Math.round(ms[Math.ceil(share * ms.length) - 1] ?? 0)).padStart(5);
  return `${String(ms.length).padStart(4)} ×   p50 ${at(0.5)}   p99 ${at(0.99)}   max ${at(1)}`;
}

/** The details of the broken promises. */
function explain({ world, unfinished, seen, settled, left, collected }: Record): string[] {
  const losses = world.history.findLosses().map(({ upload, acknowledged, claim }) => {
    const since = Math.round(claim.beganAtMs - acknowledged.endedAtMs);
    return `${upload}: ${acknowledged.method} said ${acknowledged.offset}, and ${since} ms later ${claim.method} ${claim.status} ${claim.offset}`;
  });
  const sessions = settled.sessions
    .filter(
      ({ phase, kind }) =>
        phase === "completing" || phase === "publishing" || (kind === "final" && phase !== "complete"),
    )
    .map((session) => `not completed by the alarm: ${JSON.stringify(session)}`);
  return [
    ...losses,
    ...world.faults.map(({ name, id, why }) => `${name} ${id}: ${why}`),
    ...seen.torn.map(({ id, why }) => `seen: ${id}: ${why}`),
    ...world.undead.map(({ id, why }) => `not removed: ${id}: ${why}`),
    ...unfinished.map((what) => `not complete: ${what}`),
    ...sessions,
    ...collected.left.map((key) => `left in the bucket: ${key}`),
    ...left.multiparts
      .filter(({ parts }) => parts > 0)
      .map((multipart) => `left in R2: ${JSON.stringify(multipart)}`),
    ...left.sessions.map((session) => `left: ${JSON.stringify(session)}`),
  ];
}
