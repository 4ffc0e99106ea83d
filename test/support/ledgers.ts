/** Ledgers with a fake clock that is far ahead of the real one, so that no alarm fires by itself. */
import { env, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, vi } from "vitest";
import type { Claim, NewTask, Report } from "../../src/tasks/ledger/claim.ts";
import type { TaskLedger } from "../../src/tasks/ledger/ledger.ts";
import type { Outcome } from "../../src/tasks/ledger/task-state.ts";
import { TaskTable } from "../../src/tasks/ledger/task-table.ts";
import { keepQuiet } from "./quiet.ts";

export const T0 = Date.UTC(2100, 0, 1);
export const DAY_MS = 86_400_000;

export function useClock(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: T0 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

export function pass(ms: number): void {
  vi.setSystemTime(Date.now() + ms);
}

let count = 1_000;
export const newLedgerName = () => `s${++count}`;
/** A ledger of its own for each test, by name; under the clock of `useClock`, and without the lines that it logs. */
export function useLedger(): { readonly name: string } {
  useClock();
  keepQuiet();
  const ledger = { name: "" };
  beforeEach(() => {
    ledger.name = newLedgerName();
  });
  return ledger;
}

export const ledgerCalled = (name: string) => env.TASK_LEDGER.getByName(name);

/** A task for the ledger to run as soon as it can. `more` overrides its fields. */
export function newTask(type: string, id: string, more: Partial<NewTask> = {}): NewTask {
  return { id, type, input: '{"n":1}', priority: 0, runAtMs: 0, callbackUrl: null, lane: null, ...more };
}

interface ScriptedRunner {
  start: (claim: Claim) => Promise<void>;
  cancel?: () => Promise<void>;
  stop?: () => Promise<void>;
}

/** A ledger, as a test sees it from inside its object. */
export class Inside {
  readonly object: TaskLedger;
  readonly storage: DurableObjectStorage;
  /** The claims that were given to runners, and the names of the runners that were told to cancel. */
  readonly started: Claim[] = [];
  readonly cancelled: string[] = [];
  /** The names of the runners that were told to stop, each with a function that lets that succeed. */
  readonly stopping = new Map<string, () => void>();

  constructor(object: TaskLedger, { storage }: DurableObjectState) {
    this.object = object;
    this.storage = storage;
  }

  /** Overrides variables until the object is evicted. */
  setVariables(variables: Record<string, unknown>): void {
    const inside = this.object as unknown as { env: Env };
    inside.env = { ...inside.env, ...variables };
  }

  /**
   * Replaces the runners in the bindings that the object has had from the start. Returns a function that undoes it.
   */
  scriptRunners(getByName: (name: string) => ScriptedRunner): () => void {
    const { env: bindings } = this.object as unknown as { env: { TASK_RUNNER: unknown } };
    const before = bindings.TASK_RUNNER;
    bindings.TASK_RUNNER = { getByName };
    return () => {
      bindings.TASK_RUNNER = before;
    };
  }

  /** Replaces the scheduler meanwhile. */
  async withScheduler(runEnded: (taskId: string) => Promise<void>, action: () => unknown): Promise<void> {
    const { env: bindings } = this.object as unknown as { env: { SCHEDULER: unknown } };
    const before = bindings.SCHEDULER;
    bindings.SCHEDULER = { getByName: () => ({ runEnded }) };
    try {
      await action();
    } finally {
      bindings.SCHEDULER = before;
    }
  }

  sql(query: string, ...values: SqlStorageValue[]) {
    return this.storage.sql.exec(query, ...values).toArray();
  }

  status(taskId: string): string | undefined {
    return this.object.getTask(taskId)?.status;
  }

  statuses(): Record<string, unknown> {
    return Object.fromEntries(
      this.sql("SELECT id, status FROM task ORDER BY id").map(({ id, status }) => [id, status]),
    );
  }

  /** A task's history, as its watchers receive it. */
  events(taskId: string) {
    const rows = new TaskTable(this.storage.sql, () => undefined).events(taskId, 0, 10_000);
    return rows.map(({ number, name, data }) => ({ number, name, data }));
  }

  /** Runs the alarm now, and returns the claims that it made. */
  alarm(): Claim[] {
    const before = this.sql("SELECT id, token FROM task");
    this.object.alarm();
    const tokens = new Map(before.map(({ id, token }) => [id, token]));
    const running =
      "SELECT id AS taskId, token FROM task WHERE status = 'running' ORDER BY started_at_ms, id";
    return this.storage.sql
      .exec<{ taskId: string; token: number }>(running)
      .toArray()
      .filter(({ taskId, token }) => token !== (tokens.get(taskId) ?? 0));
  }

  /** Reports an outcome for the latest claim of a task. With `busyUntilMs`, its code was abandoned. */
  report(taskId: string, outcome: Outcome, busyUntilMs?: number): void {
    const token = this.object.getTask(taskId)?.token ?? -1;
    const busy = busyUntilMs === undefined ? {} : { busyUntilMs };
    const reports: Report[] = [{ taskId, token, outcome, ...busy }];
    this.object.report(reports);
  }
}

/** Runs `action` inside a ledger whose runners only record their calls. */
export async function inLedger<T>(name: string, action: (inside: Inside) => T | Promise<T>): Promise<T> {
  return runInDurableObject(ledgerCalled(name), async (object: TaskLedger, state) => {
    const inside = new Inside(object, state);
    const restore = inside.scriptRunners((runner) => ({
      start: async (claim) => void inside.started.push(claim),
      cancel: async () => void inside.cancelled.push(runner),
      stop: async () => new Promise((resolve) => void inside.stopping.set(runner, resolve)),
    }));
    try {
      return await action(inside);
    } finally {
      restore();
    }
  });
}

export const SUCCESS: Outcome = { kind: "succeeded", result: '"done"' };
export const FAILURE: Outcome = { kind: "failed", error: { name: "Error", message: "no" }, isFinal: true };
