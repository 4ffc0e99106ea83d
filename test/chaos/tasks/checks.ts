/**
 * The promises about each single task, checked in the history: nothing lost, one end, no more executions than
 * allowed, no step twice. Each check returns what it examined and what is wrong.
 */
import { z } from "zod";
import { statusOf } from "./follow.ts";
import { type Execution, type History, isTerminal, type Reading, retriesOf } from "./history.ts";
import { kindOf } from "./kinds.ts";

export interface Finding {
  what: string;
  faults: string[];
  /** How many things were examined. A check that examined nothing shows nothing. */
  of: number;
  measured: string;
}

/** The tasks that a client asked to delete. */
const removedIds = (history: History) => new Set(history.deletions.map(({ of }) => of));

export function checkNothingLost(history: History): Finding {
  const removed = removedIds(history);
  const listed = new Set(history.listed);
  const kept = [...history.acknowledged].filter((id) => !removed.has(id));
  const missing = kept.filter((id) => !history.tasks.has(id));
  const unlisted = kept.filter((id) => !listed.has(id));
  const unfinished = [...history.tasks.values()].filter(({ status }) => !isTerminal(status));
  const twice = history.listed.length - listed.size;
  return {
    what: "no acknowledged task lost, and all have ended",
    of: kept.length,
    measured:
      `${missing.length} missing, ${unlisted.length} not listed, ${twice} listed twice, ${unfinished.length} not ended, ` +
      `of ${history.acknowledged.size} acknowledged and ${history.tasks.size} existing`,
    faults: [
      ...missing.map((id) => `missing: ${id}`),
      ...unlisted.map((id) => `not listed: ${id}`),
      ...(twice > 0 ? [`${twice} are listed twice`] : []),
      ...unfinished.map(({ id, type, status, crashes }) => `${id} ${type} is ${status}, ${crashes} crashes`),
    ],
  };
}

export function checkOneEnd(history: History): Finding {
  const faults = [
    ...history.streams.flatMap((reading) => findStreamFaults(history, reading)),
    ...findContradictions(history),
  ];
  const events = history.streams.reduce((sum, reading) => sum + reading.events.length, 0);
  return {
    what: "exactly one terminal state per task; events numbered without gap or repetition",
    of: history.streams.length,
    measured: `${faults.length} faults in ${events} events of ${history.streams.length} tasks and ${history.sightings.length} responses`,
    faults,
  };
}

function findStreamFaults(history: History, { taskId, events, end }: Reading): string[] {
  const task = history.tasks.get(taskId);
  const gap = events.findIndex(({ id }, i) => id !== i + 1);
  const statuses = events.map(statusOf);
  const ends = statuses.filter(isTerminal).length;
  const retries = retriesOf(history, taskId, task?.type);
  const heard = retries.filter(({ of, httpStatus }) => of === taskId && httpStatus === 202).length;
  // After an end, only another life may follow.
  const undead = statuses.findIndex(
    (status, i) => isTerminal(statuses[i - 1]) && (status === undefined || isTerminal(status)),
  );
  const faults = [
    ...(end === "whole" ? [] : [`its stream is ${end}`]),
    ...(gap < 0 ? [] : [`event ${gap + 1} has the id ${events[gap]?.id}`]),
    ...(ends >= 1 + heard && ends <= 1 + retries.length
      ? []
      : [`${ends} ends, ${heard} to ${retries.length} retries`]),
    ...(undead < 0 ? [] : [`event ${undead + 1} follows its end`]),
    ...(statuses.findLast((status) => status !== undefined) === task?.status
      ? []
      : [`its last event is not ${task?.status}`]),
  ];
  return faults.map((fault) => `${taskId} ${task?.type}: ${fault}`);
}

/** Responses that showed an end, followed by others that showed something else without a retry in between. */
function findContradictions(history: History): string[] {
  return [...Map.groupBy(history.sightings, ({ id }) => id)].flatMap(([id, sightings]) => {
    const retries = retriesOf(history, id, history.tasks.get(id)?.type);
    const ended = sightings.filter(({ status }) => isTerminal(status));
    return ended.flatMap((first) => {
      const later = sightings.find(
        ({ status, askedAtMs, answeredAtMs }) =>
          askedAtMs > first.answeredAtMs &&
          status !== first.status &&
          !retries.some(({ sentAtMs }) => sentAtMs >= first.askedAtMs && sentAtMs <= answeredAtMs),
      );
      return later ? [`${id}: was ${first.status}, and then ${later.status}`] : [];
    });
  });
}

export function checkFollowed(history: History): Finding {
  const streams = new Map(history.streams.map((reading) => [reading.taskId, reading.events]));
  const removed = removedIds(history);
  const followed = history.followed.filter(({ end, taskId }) => end !== "gone" || !removed.has(taskId));
  const faults = followed.flatMap(({ taskId, events, end }) => {
    const whole = streams.get(taskId);
    if (!whole) return removed.has(taskId) ? [] : [`${taskId}: no stream to compare with`];
    if (end !== "whole") return [`${taskId}: its stream is ${end}`];
    const same = JSON.stringify(events) === JSON.stringify(whole.slice(0, events.length));
    return same ? [] : [`${taskId}: ${JSON.stringify(events)} and ${JSON.stringify(whole)}`];
  });
  const over = followed.filter(({ connections }) => connections > 1).length;
  return {
    what: "a stream read across restarts is the same as the one read afterwards",
    of: over,
    measured: `${faults.length} differ, of ${followed.length}, ${over} of them with more than one connection`,
    faults,
  };
}

const statusDataSchema = z.object({
  reason: z.string().optional(),
  error: z.object({ name: z.string() }).optional(),
});

/**
 * The interruptions in the last life of a task, by its events. Its `crashes` are not enough: they start again after a
 * step, and a restart of the runtime is a deploy to a runner, and so a hand-over.
 */
function interruptionsOf(history: History, taskId: string): number {
  const events = history.streams.find((reading) => reading.taskId === taskId)?.events ?? [];
  const statuses = events.filter(({ event }) => event === "status");
  const begin = statuses.slice(0, -1).findLastIndex((event) => isTerminal(statusOf(event))) + 1;
  return statuses.slice(begin).filter(({ data }) => {
    const { reason, error } = statusDataSchema.parse(JSON.parse(data));
    return reason !== undefined || error?.name === "Crashed";
  }).length;
}

export function checkExecutions(history: History): Finding {
  let interruptions = 0;
  const byTask = Map.groupBy(history.executions, ({ taskId }) => taskId);
  const faults = [...byTask].flatMap(([taskId, all]) => {
    const task = history.tasks.get(taskId);
    const kind = task && kindOf(task.type);
    if (!kind) return [];
    // The ledger shows the attempts of the last life only.
    const since = Math.max(0, ...retriesOf(history, taskId, task.type).map(({ sentAtMs }) => sentAtMs));
    const count = all.filter(({ beganAtMs }) => beganAtMs > since).length;
    const interrupted = interruptionsOf(history, taskId);
    interruptions += interrupted;
    return count <= task.attempt + interrupted && task.attempt <= 1 + kind.retries
      ? []
      : [
          `${taskId} ${kind.name}: ${count} executions, ${task.attempt} attempts with ${kind.retries} retries, ${interrupted} interruptions`,
        ];
  });
  return {
    what: "executions ≤ 1 + retries + crashes + hand-overs",
    of: byTask.size,
    measured: `${faults.length} above, of ${byTask.size} tasks; ${history.executions.length} executions, ${interruptions} crashes and hand-overs`,
    faults,
  };
}

export function checkSucceeded(history: History): Finding {
  const complete = new Set(
    history.executions.filter(({ end }) => end?.outcome === "returned").map(({ taskId }) => taskId),
  );
  const succeeded = [...history.tasks.values()].filter(({ status }) => status === "succeeded");
  const faults = succeeded.filter(({ id }) => !complete.has(id));
  return {
    what: "every succeeded task was executed to its end",
    of: succeeded.length,
    measured: `${faults.length} were not, of ${succeeded.length}`,
    faults: faults.map(({ id, type }) => `${id} ${type}: the witness saw no end`),
  };
}

export function checkSteps(history: History): Finding {
  const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
  const byTask = Map.groupBy(
    history.executions.filter(({ taskId }) => !spoilt.has(taskId)),
    ({ taskId }) => taskId,
  );
  let recorded = 0;
  const faults = [...byTask].flatMap(([taskId, all]) => {
    const records = all.flatMap((execution) => execution.recorded);
    recorded += records.length;
    return records.flatMap(({ name, atMs }) =>
      againAfter(all, name, atMs)
        ? [`${taskId} ${all[0]?.type}: "${name}" repeated after it was recorded`]
        : [],
    );
  });
  return {
    what: "a recorded step is not repeated",
    of: recorded,
    measured: `${faults.length} were, of ${recorded} records`,
    faults,
  };
}

const againAfter = (all: Execution[], name: string, atMs: number) =>
  all.some(({ steps }) => steps.some((step) => step.name === name && step.atMs > atMs));
