/**
 * How long an interrupted task waits until its code begins again.
 *
 * After a kill, a task waits for its lease at most. But while one kill follows another, the runtime may not be up
 * long enough to start it. So besides the time since the kill, this measures the time that the task was given: the
 * rest of its lease, and then the longest uninterrupted time in which the runtime was up. For a task that no second
 * kill disturbs, the two are the same.
 *
 * The ledger cannot know that the invocation of a request has died. So a task that ran in one begins again when that
 * invocation must be over, and the time until then does not count.
 */
import type { Finding } from "./checks.ts";
import { type Execution, type History, type Life, retriesOf } from "./history.ts";
import { KINDS, kindOf } from "./kinds.ts";

/**
 * As in src/tasks/ledger/rules.ts: the lease of a claim that its runner has not opened. Later it is longer, but then the
 * runtime tries the runner's alarm again.
 */
const LEASE_MS = 15_000;
const MAX_MS = LEASE_MS + 5_000;
/** As in src/tasks/run/submit.ts: how long the invocation of a request can last. */
const INVOCATION_MS = 35_000;
/** Within this time of an end, the witness may know of it and the ledger may not. */
const UNREPORTED_MS = 1_000;

export interface Recovery {
  taskId: string;
  by: "kill" | "reload" | "crash of its runner";
  /** From the blow to the next begin. */
  ms: number;
  /** From the next start of the runtime to the next begin; of a crash, the same as `ms`. */
  sinceUpMs: number;
  givenMs: number;
}

export function findRecoveries(history: History): Recovery[] {
  return [...findFromKills(history), ...findFromCrashes(history)];
}

/** From each crash of a runner to the next begin of its task, within the same life of the runtime. */
function findFromCrashes({ blows, executions, lives }: History): Recovery[] {
  return blows.flatMap(({ taskId, atMs }) => {
    const life = lives.findIndex(({ upAtMs, endedAtMs }) => upAtMs <= atMs && atMs < endedAtMs);
    const next = executions
      .filter((execution) => execution.taskId === taskId && execution.beganAtMs > atMs)
      .reduce<Execution | undefined>((a, b) => (a && a.beganAtMs < b.beganAtMs ? a : b), undefined);
    if (taskId === undefined || next?.life !== life) return [];
    const ms = next.beganAtMs - atMs;
    return [{ taskId, by: "crash of its runner" as const, ms, sinceUpMs: ms, givenMs: ms }];
  });
}

function findFromKills(history: History): Recovery[] {
  const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
  // A task of a capped type may wait for other tasks.
  const uncapped = new Set(
    KINDS.filter(({ cap, pauses }) => cap === undefined && !pauses).map(({ name }) => name),
  );
  const eligible = history.executions.filter(({ taskId, type }) => uncapped.has(type) && !spoilt.has(taskId));
  return [...Map.groupBy(eligible, ({ taskId }) => taskId).values()].flatMap((executions) => {
    const inOrder = executions.toSorted((a, b) => a.beganAtMs - b.beganAtMs);
    return inOrder.flatMap((next, i) => {
      const before = inOrder[i - 1];
      const deadAtMs = before && i === 1 && isInRequest(before) ? before.beganAtMs + INVOCATION_MS : 0;
      return before ? (recover(history, before, next, deadAtMs) ?? []) : [];
    });
  });
}

/** Whether the first execution of a task may have been in the request that submitted it. */
const isInRequest = ({ type, attempt, notBeforeMs }: Execution) =>
  attempt === 1 && notBeforeMs === 0 && kindOf(type)?.lane === "fast";

/** `deadAtMs`: no earlier is it certain that the execution before is over. */
function recover(
  history: History,
  before: Execution,
  next: Execution,
  deadAtMs: number,
): Recovery | undefined {
  const { taskId } = before;
  const life = history.lives[before.life];
  if (!life || next.attempt !== before.attempt) return undefined;
  const isRetried = retriesOf(history, taskId, before.type).some(
    ({ sentAtMs }) => sentAtMs > before.beganAtMs && sentAtMs < next.beganAtMs,
  );
  if (isRetried) return undefined;
  if (next.life === before.life) return undefined;
  if (before.end && life.endedAtMs - before.end.atMs > UNREPORTED_MS) return undefined;
  const up = history.lives[before.life + 1];
  return {
    taskId,
    by: life.by === "SIGKILL" ? "kill" : "reload",
    ms: next.beganAtMs - life.endedAtMs,
    sinceUpMs: next.beganAtMs - (up?.upAtMs ?? Infinity),
    givenMs: measureGiven(history.lives, life.endedAtMs, next.beganAtMs, deadAtMs),
  };
}

function measureGiven(lives: Life[], fromMs: number, toMs: number, deadAtMs: number): number {
  const dueAtMs = Math.max(fromMs + LEASE_MS, deadAtMs);
  if (toMs <= dueAtMs) return Math.min(toMs - fromMs, LEASE_MS);
  const chances = lives.map(({ upAtMs, endedAtMs }) => Math.min(endedAtMs, toMs) - Math.max(upAtMs, dueAtMs));
  return LEASE_MS + Math.max(0, ...chances);
}

export function checkRecovery(history: History): Finding {
  const recoveries = findRecoveries(history);
  const given = recoveries.map(({ givenMs }) => givenMs).toSorted((a, b) => a - b);
  const p99 = atShare(given, 0.99);
  const late = recoveries.filter(({ givenMs }) => givenMs > MAX_MS);
  return {
    what: `recovery: p99 ≤ lease + 5 s (${MAX_MS / 1000} s)`,
    of: recoveries.length,
    measured: `p50 ${seconds(atShare(given, 0.5))}, p99 ${seconds(p99)}, max ${seconds(atShare(given, 1))}, of ${recoveries.length}`,
    faults:
      p99 <= MAX_MS
        ? []
        : late.map(
            ({ taskId, by, ms, givenMs }) =>
              `${taskId}: ${seconds(ms)} after a ${by}, ${seconds(givenMs)} of it given`,
          ),
  };
}

export const atShare = (sorted: number[], share: number): number =>
  sorted[Math.ceil(share * sorted.length) - 1] ?? 0;

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
