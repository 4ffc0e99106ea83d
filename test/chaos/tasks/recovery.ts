/**
 * How long an interrupted task waits until its code begins again.
 *
 * A kill makes a task wait for its lease, at most; but while one kill follows another, there may be nobody who could
 * begin it. So beside the time from the kill there is the time it was given: what is left of the lease, and then the
 * longest time in one piece in which the runtime was up. For a task that no second kill disturbs both are the same.
 */
import type { Finding } from "./checks.ts";
import { type Execution, type History, type Life, retriesOf } from "./history.ts";
import { KINDS } from "./kinds.ts";

/** As in src/tasks/rules.ts. */
const LEASE_MS = 15_000;
const MOST_MS = LEASE_MS + 5_000;
/** The witness had heard of its end, but the ledger perhaps not. */
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

/** From each crash of a runner to the next begin of its task, in the same life of the runtime. */
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
  // What waits for room waits for others.
  const uncapped = new Set(KINDS.filter(({ cap }) => cap === undefined).map(({ name }) => name));
  const eligible = history.executions.filter(({ taskId, type }) => uncapped.has(type) && !spoilt.has(taskId));
  return [...Map.groupBy(eligible, ({ taskId }) => taskId).values()].flatMap((executions) => {
    const inOrder = executions.toSorted((a, b) => a.beganAtMs - b.beganAtMs);
    return inOrder.flatMap((next, i) => {
      const before = inOrder[i - 1];
      return before ? (recover(history, before, next) ?? []) : [];
    });
  });
}

function recover(history: History, before: Execution, next: Execution): Recovery | undefined {
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
    givenMs: measureGiven(history.lives, life.endedAtMs, next.beganAtMs),
  };
}

function measureGiven(lives: Life[], fromMs: number, toMs: number): number {
  const dueAtMs = fromMs + LEASE_MS;
  if (toMs <= dueAtMs) return toMs - fromMs;
  const chances = lives.map(({ upAtMs, endedAtMs }) => Math.min(endedAtMs, toMs) - Math.max(upAtMs, dueAtMs));
  return LEASE_MS + Math.max(0, ...chances);
}

export function checkRecovery(history: History): Finding {
  const recoveries = findRecoveries(history);
  const given = recoveries.map(({ givenMs }) => givenMs).toSorted((a, b) => a - b);
  const p99 = atShare(given, 0.99);
  const late = recoveries.filter(({ givenMs }) => givenMs > MOST_MS);
  return {
    what: `recovery: p99 ≤ lease + 5 s (${MOST_MS / 1000} s)`,
    of: recoveries.length,
    measured: `p50 ${seconds(atShare(given, 0.5))}, p99 ${seconds(p99)}, most ${seconds(atShare(given, 1))}, of ${recoveries.length}`,
    faults:
      p99 <= MOST_MS
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
