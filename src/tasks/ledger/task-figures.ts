/**
 * The figures of a ledger for `GET /metrics`.
 *
 * The table of tasks says itself how many were submitted and how they ended, so nothing is written to count them. Each
 * reading looks at the rows that were created or have ended since the one before, and adds them to the tally: a task
 * counts once, and a restart changes nothing. A row that would go, or begin another life, before it was looked at, is
 * looked at first. What no row keeps (retries, crashes, how late alarms are) is counted as it happens (kernel/kept-tally.ts).
 *
 * When nobody has read the figures for a while, tasks go uncounted until the next reading.
 */
import { KeptTally } from "../../kernel/kept-tally.ts";
import { type Figures, keyOf } from "../../kernel/tally.ts";
import { typeLabel, typeLabels, typeNames } from "../types/registry.ts";
import { IS_LATE, LATE, NOT_FAST, SOON_MS } from "./indexes.ts";
import { queuedSinceMs } from "./rank.ts";
import { MAX_CRASHES, type Transition } from "./rules.ts";
import type { TaskRow } from "./schema.ts";
import { sectionsOf, type TaskQueries } from "./task-queries.ts";
import { FINAL_STATUSES, isFinal, POOLS, TASK_STATUSES } from "./task-state.ts";

type EndedRow = Pick<TaskRow, "type" | "status" | "created_at_ms" | "run_at_ms" | "started_at_ms"> & {
  finished_at_ms: number;
};

const ENDED_COLUMNS = "type, status, created_at_ms, run_at_ms, started_at_ms, finished_at_ms";
const ENDED_BETWEEN = "status = ?1 AND finished_at_ms > ?2 AND finished_at_ms <= ?3";

/** What each type has before anything was counted: a rate needs a zero to begin with. */
const startOf = (type: string): [key: string, value: number][] =>
  [
    keyOf("submitted", type),
    keyOf("retries", type),
    keyOf("crashes", type),
    ...FINAL_STATUSES.map((status) => keyOf("finished", type, status)),
  ].map((key) => [key, 0]);

export class TaskFigures {
  readonly #sql: SqlStorage;
  readonly #queries: TaskQueries;
  readonly #tally: KeptTally;
  readonly #isPaused: (type: string) => boolean;

  /** `isPaused`: whether a type is, on this shard. */
  constructor(storage: DurableObjectStorage, queries: TaskQueries, isPaused: (type: string) => boolean) {
    this.#isPaused = isPaused;
    this.#sql = storage.sql;
    this.#queries = queries;
    this.#tally = new KeptTally(storage);
  }

  read(nowMs: number): Figures {
    this.#count(nowMs);
    const counts = { ...Object.fromEntries(typeLabels().flatMap(startOf)), ...this.#tally.read(nowMs) };
    return { counts, gauges: { ...this.#pauses(), ...this.#tasksNow(nowMs), ...this.#lateness(nowMs) } };
  }

  /** Call this before rows go, or begin another life. */
  beforeForgetting(tasks: readonly Pick<TaskRow, "created_at_ms" | "finished_at_ms">[], nowMs: number): void {
    if (!this.#tally.isReadAt(nowMs)) return;
    const { countedUntilMs } = this.#tally;
    const isUncounted = (task: (typeof tasks)[number]) =>
      Math.max(task.created_at_ms, task.finished_at_ms ?? 0) > countedUntilMs;
    if (!tasks.some(isUncounted)) return;
    this.#count(nowMs + 1);
    this.#tally.save();
  }

  /** Call this with each transition of a task that was claimed. */
  onTransition({ task, event }: Transition<TaskRow>): void {
    const setback = setbackOf({ task, event });
    if (setback) this.#tally.add(keyOf(setback, typeLabel(task.type)));
  }

  onAlarm(lateMs: number): void {
    this.#tally.addDuration("alarm", lateMs);
  }

  /** Adds what was created or has ended since the last time, and before `nowMs`: at that very moment more may follow. */
  #count(nowMs: number): void {
    const [afterMs, untilMs] = [this.#tally.countedUntilMs, nowMs - 1];
    const isFirst = !this.#tally.isReadAt(nowMs);
    if (!isFirst && untilMs > afterMs) {
      this.#countCreated(afterMs, untilMs);
      this.#countEnded(afterMs, untilMs);
    }
    this.#tally.countedUntilMs = Math.max(afterMs, untilMs);
  }

  #countCreated(afterMs: number, untilMs: number): void {
    const inTime = "AND type = ? AND created_at_ms > ? AND created_at_ms <= ?";
    for (const section of TASK_STATUSES.flatMap(sectionsOf))
      for (const type of this.#queries.typesIn(section)) {
        const query = `SELECT count(*) AS count FROM ${section.from} ${inTime}`;
        const values = [...section.values, type, afterMs, untilMs];
        const { count } = this.#sql.exec<{ count: number }>(query, ...values).one();
        if (count > 0) this.#tally.add(keyOf("submitted", typeLabel(type)), count);
      }
  }

  #countEnded(afterMs: number, untilMs: number): void {
    for (const status of FINAL_STATUSES) {
      const late = `task INDEXED BY task_late WHERE ${LATE} AND ${ENDED_BETWEEN}`;
      this.#addEnded(late, status, afterMs, untilMs);
      const soon = `task INDEXED BY task_listed WHERE ${NOT_FAST} AND ${IS_LATE} = 0`;
      for (const type of this.#queries.typesIn({ from: `${soon} AND status = ?`, values: [status] }))
        this.#addEnded(
          `${soon} AND ${ENDED_BETWEEN} AND type = ?4 AND created_at_ms >= ?5`,
          status,
          afterMs,
          untilMs,
          type,
          afterMs - SOON_MS,
        );
    }
  }

  #addEnded(from: string, ...values: SqlStorageValue[]): void {
    for (const row of this.#sql.exec<EndedRow>(`SELECT ${ENDED_COLUMNS} FROM ${from}`, ...values)) {
      const { status, created_at_ms, run_at_ms, started_at_ms, finished_at_ms } = row;
      const type = typeLabel(row.type);
      this.#tally.add(keyOf("finished", type, status));
      if (started_at_ms === null) continue;
      this.#tally.addDuration(keyOf("wait", type), started_at_ms - Math.max(created_at_ms, run_at_ms));
      this.#tally.addDuration(keyOf("run", type), finished_at_ms - started_at_ms);
    }
  }

  /** Types that share a label are paused if one of them is. */
  #pauses(): Record<string, number> {
    const gauges: Record<string, number> = {};
    for (const type of typeNames()) {
      const key = keyOf("paused", typeLabel(type));
      gauges[key] = Math.max(gauges[key] ?? 0, Number(this.#isPaused(type)));
    }
    return gauges;
  }

  #tasksNow(nowMs: number): Record<string, number> {
    const gauges: Record<string, number> = {};
    for (const { type, status, count } of this.#queries.countByStatus()) {
      const key = keyOf("tasks", typeLabel(type), status);
      gauges[key] = (gauges[key] ?? 0) + count;
    }
    for (const type of this.#queries.queuedTypes()) {
      const key = keyOf("oldest", typeLabel(type));
      gauges[key] = Math.max(gauges[key] ?? 0, this.#queuedForMs(type, nowMs) / 1000);
    }
    return gauges;
  }

  /** Of those that are next, since a task may pass only those that have come soon before it. */
  #queuedForMs(type: string, nowMs: number): number {
    const heads = POOLS.flatMap((pool) => this.#queries.queued(type, pool, 1));
    const since = heads.map(({ priority, rank_ms }) => queuedSinceMs(priority, rank_ms ?? nowMs));
    return nowMs - Math.min(nowMs, ...since);
  }

  /** How late the ledger is right now, with the task that it should have acted on first. */
  #lateness(nowMs: number): Record<string, number> {
    const dueAtMs = this.#queries.nextDueAtMs() ?? nowMs;
    return { overdue: Math.max(0, nowMs - dueAtMs) / 1000 };
  }
}

/** What set a task back, if it was: its code failed and is tried again, or whatever ran it died. */
export function setbackOf({ task, event }: Transition): "retries" | "crashes" | undefined {
  if (event.data.reason === "crashed") return "crashes";
  if (task.status === "failed" && task.crashes >= MAX_CRASHES) return "crashes";
  return "error" in event.data && !isFinal(task.status) ? "retries" : undefined;
}
