/**
 * Chaos for jobs. Round after round, a job of each kind is submitted, and the runtime is killed while they are at work, several
 * times, at a random moment or just when a call of theirs has arrived outside. When all of them have ended, what they
 * have made is compared with what was found out without Sluice.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { Server } from "../files/server.ts";
import { Random } from "../random.ts";
import { Api, ENDED, type Task } from "./api.ts";
import { callJobs, cleaningUp, UPSTREAM, webhookJob } from "./call-jobs.ts";
import { chainOf, fileJobs } from "./file-jobs.ts";
import type { Ended, History } from "./history.ts";
import { type Finding, finding, type Job } from "./job.ts";
import { readLeftovers } from "./leftovers.ts";
import { Outside } from "./outside.ts";
import { buildSabotaged } from "./sabotage.ts";
import { makeSources, type Source, type Sources } from "./sources.ts";
import { CONTROL_AIMS, chooseAim, strike } from "./strike.ts";

/** How many kills a round has. After five crashes without a new step, a task fails: that is promised, too. */
const KILLS_PER_ROUND = [3, 4] as const;
/** How long the jobs of a round may take after the last kill. */
const PATIENCE_MS = { chaos: 180_000, control: 90_000 };
const POLL_MS = 250;
/** In some rounds, some jobs begin in the request that submits them. The ledger waits 35 s until it begins such a job again. */
const HERE_ROUNDS = 0.3;
const HERE_SHARE = 0.3;
/** The others begin so much later, in a runner: when all are submitted, if nothing kills that. In seconds. */
const DELAY_S = 0.6;

export interface ChaosOptions {
  /** The control has one round, with its own. */
  kills: number;
  seed: number;
  /** The Worker is the one that breaks its promises. */
  isSabotaged: boolean;
  onLine: (line: string) => void;
}

export async function runChaos({ kills, seed, isSabotaged, onLine }: ChaosOptions): Promise<History> {
  const beganAtMs = performance.now();
  await using made = new AsyncDisposableStack();
  const folder = makeTemporaryFolder();
  made.defer(folder.remove);
  const outside = made.use(await Outside.open());
  const main = isSabotaged ? await buildSabotaged(join(folder.path, "index.js")) : undefined;
  const server = made.use(new Server({ main, isForgetful: false, onLine, vars: variables(outside) }));
  await server.start();
  const api = new Api(() => server.url);
  const sources = makeSources(seed);
  const stored = Object.values(sources).filter(isSource);
  for (const { id, bytes, contentType } of stored) await api.store(id, bytes, contentType);
  const history: History = {
    kills: [],
    ended: [],
    unfinished: [],
    stored: stored.map(({ id }) => id),
    files: [],
    tasks: [],
    received: outside.received,
    disk: { drafts: [], objects: [], multiparts: [], doomed: 0 },
    tookMs: 0,
  };
  const random = new Random(seed, "rounds");
  for (let round = 1; history.kills.length < kills; round++) {
    const jobs = await jobsOf(`r${round}`, sources, outside, api);
    const submitting = submitAll(
      jobs,
      api,
      random,
      round,
      random.chance(HERE_ROUNDS) && !isSabotaged ? HERE_SHARE : 0,
    );
    const count = Math.min(kills - history.kills.length, random.between(...KILLS_PER_ROUND));
    const aims = isSabotaged
      ? CONTROL_AIMS
      : Array.from({ length: count }, (_, i) => chooseAim(random, i === 0));
    for (const aim of aims) history.kills.push(await strike(server, outside, aim, random));
    await settle(await submitting, api, sources, history, PATIENCE_MS[isSabotaged ? "control" : "chaos"]);
  }
  history.files = await api.files();
  history.tasks = await api.tasks();
  await server.stop();
  return { ...history, disk: readLeftovers(server.storage), tookMs: performance.now() - beganAtMs };
}

function variables({ origin }: Outside) {
  return {
    UPSTREAMS: {
      [UPSTREAM]: { origin, methods: ["GET", "POST", "PUT"], concurrency: 30, cache_seconds: 0 },
    },
    DATA_UPSTREAM: UPSTREAM,
    CALLBACK_ORIGINS: { [origin]: UPSTREAM },
    CALLBACK_KEYS: `whsec_${Buffer.from("the key of the chaos, 32 bytes..").toString("base64")}`,
  };
}

const isSource = (value: unknown): value is Source =>
  typeof value === "object" && value !== null && "contentType" in value;

async function jobsOf(round: string, sources: Sources, outside: Outside, api: Api): Promise<Job[]> {
  return [
    ...fileJobs(sources),
    ...callJobs(round, sources, outside),
    chainOf(sources, webhookJob(outside, `chain-${round}`)),
    await cleaningUp(round, api),
  ];
}

interface Submitted {
  job: Job;
  taskId: string;
}

async function submitAll(
  jobs: Job[],
  api: Api,
  random: Random,
  round: number,
  hereShare: number,
): Promise<Submitted[]> {
  return Promise.all(
    jobs.map(async (job, i) => {
      const delay = random.chance(hereShare) ? {} : { delay: DELAY_S };
      return { job, taskId: await api.submit(`${round}-${i}`, { ...requestOf(job), ...delay }) };
    }),
  );
}

function requestOf({ type, input, then }: Job): object {
  return { type, input, ...(then && { then: then.map(requestOf) }) };
}

/** Waits for the ends of the jobs and of what follows them, and records what was found. */
async function settle(
  submitted: Submitted[],
  api: Api,
  sources: Sources,
  history: History,
  patienceMs: number,
): Promise<void> {
  const untilMs = performance.now() + patienceMs;
  for (let waiting = submitted; waiting.length > 0; await sleep(POLL_MS)) {
    const looks = await Promise.all(
      waiting.map(async (one) => ({ ...one, task: await api.task(one.taskId) })),
    );
    waiting = [];
    for (const { job, taskId, task } of looks) {
      if (!ENDED.includes(task.status)) {
        if (performance.now() < untilMs) waiting.push({ job, taskId });
        else history.unfinished.push(`${job.kind} ${taskId} is ${task.status}`);
        continue;
      }
      history.ended.push(await examine(job, task, api, sources));
      for (const [i, next] of (job.then ?? []).entries()) {
        const followUp = task.followUps[i];
        if (followUp !== undefined) waiting.push({ job: next, taskId: followUp });
      }
    }
  }
}

async function examine(job: Job, task: Task, api: Api, sources: Sources): Promise<Ended> {
  const { id: taskId, status, error, followUps } = task;
  const found: Finding =
    status === "succeeded"
      ? await job
          .check(task.result, { api, sources, taskId })
          .catch((fault: unknown) => finding([`it cannot be checked: ${String(fault)}`]))
      : finding([]);
  return {
    kind: job.kind,
    taskId,
    status,
    error: error?.message ?? "",
    ...found,
    cuts: await api.cuts(taskId),
    followUps: followUps.length,
    wanted: status === "succeeded" ? (job.then?.length ?? 0) : 0,
  };
}
