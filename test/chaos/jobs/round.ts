/** One round: jobs are submitted, and when all of them have ended, what they have made is examined. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";
import { type Api, ENDED, type Task } from "./api.ts";
import type { Ended, History } from "./history.ts";
import { finding, type Job } from "./job.ts";
import type { Sources } from "./sources.ts";

const POLL_MS = 250;
/** Jobs that do not begin in the request that submits them begin so much later, in a runner. In seconds. */
const DELAY_S = 0.6;

export interface Submitted {
  job: Job;
  taskId: string;
}

/** `hereShare`: of the jobs that begin in the request that submits them. */
export async function submitAll(
  jobs: Job[],
  { round, api, random, hereShare }: { round: number; api: Api; random: Random; hereShare: number },
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

interface Scene {
  api: Api;
  sources: Sources;
  history: History;
}

/** Waits for the ends of the jobs and of what follows them, and records what was found. */
export async function settle(submitted: Submitted[], scene: Scene, patienceMs: number): Promise<void> {
  const { api, history } = scene;
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
      history.ended.push(await examine(job, task, scene));
      for (const [i, next] of (job.then ?? []).entries()) {
        const followUp = task.followUps[i];
        if (followUp !== undefined) waiting.push({ job: next, taskId: followUp });
      }
    }
  }
}

async function examine(job: Job, task: Task, { api, sources }: Scene): Promise<Ended> {
  const { id: taskId, status, error, followUps } = task;
  const hasSucceeded = status === "succeeded";
  const found = hasSucceeded
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
    wanted: hasSucceeded ? (job.then?.length ?? 0) : 0,
  };
}
