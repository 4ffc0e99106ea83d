/** A scheduler with a fake clock, and a fake ledger in place of the real one. */
import { env, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, vi } from "vitest";
import { z } from "zod";
import { defineTask } from "../../src/tasks/index.ts";
import type { Task } from "../../src/tasks/ledger/schema.ts";
import { registerSchedules, type ScheduleSpec } from "../../src/tasks/schedules/registry.ts";
import { runs, type Scheduler } from "../../src/tasks/schedules/scheduler.ts";
import type { ScheduleRow } from "../../src/tasks/schedules/schema.ts";
import { registerTaskTypes } from "../../src/tasks/types/registry.ts";
import { keepQuiet } from "./quiet.ts";

/** The fake ledger: one task per key, which ends when the test says so. */
type FakeTask = { status: string; type: string; input: unknown };
export const ledger = {
  tasks: new Map<string, FakeTask>(),
  /** The key of every `enqueueOnce` call. */
  calls: [] as string[],
  isDown: false,
  maxActive: 0,
  onEnqueue: async (_key: string): Promise<void> => {},
};

function replaceLedger(): void {
  ledger.tasks.clear();
  ledger.calls.length = 0;
  ledger.isDown = false;
  ledger.maxActive = 0;
  ledger.onEnqueue = async () => {};
  vi.spyOn(runs, "enqueueOnce").mockImplementation(async (_env, type, input, key) => {
    ledger.calls.push(key);
    if (ledger.isDown) throw new Error("restarting");
    if (!ledger.tasks.has(key)) ledger.tasks.set(key, { status: "queued", type: type.name, input });
    const active = [...ledger.tasks.values()].filter(({ status }) => status === "queued");
    ledger.maxActive = Math.max(ledger.maxActive, active.length);
    await ledger.onEnqueue(key);
    return key;
  });
  vi.spyOn(runs, "getTask").mockImplementation(async (_env, id) => ledger.tasks.get(id) as Task | undefined);
}

export const NOW = Date.UTC(2030, 0, 1, 12);
export const MINUTE = 60_000;

export const work = defineTask({
  name: "scheduler_work",
  input: z.object({ n: z.int() }),
  run: async () => null,
});
registerTaskTypes([work]);

export const scheduler = () => env.SCHEDULER.getByName("schedules");
const specOf = (id: string, more: Partial<ScheduleSpec> = {}): ScheduleSpec => ({
  id,
  cron: "* * * * *",
  timeZone: "UTC",
  type: "scheduler_work",
  input: '{"n":1}',
  overlap: "skip",
  missed: "run_once",
  ...more,
});

export const create = async (id: string, more: Partial<ScheduleSpec> = {}) =>
  scheduler().create(specOf(id, more));
export const alarmAt = () =>
  runInDurableObject(scheduler(), (_: Scheduler, { storage }) => storage.getAlarm());
export const change = (id: string, row: Partial<ScheduleRow>) =>
  runInDurableObject(scheduler(), (_: Scheduler, { storage }) => {
    for (const [column, value] of Object.entries(row)) {
      storage.sql.exec(`UPDATE schedule SET ${column} = ? WHERE id = ?`, value ?? null, id);
    }
  });

/** Fires the alarm at a time; false if none is set. */
export async function ring(atMs: number): Promise<boolean> {
  vi.setSystemTime(atMs);
  return runDurableObjectAlarm(scheduler());
}

/** Ends the run of a tick. */
export const finish = (id: string, tickAtMs: number, status = "succeeded") => {
  const task = ledger.tasks.get(keyOf(id, tickAtMs));
  if (!task) throw new Error("there is no such run");
  task.status = status;
};
export const finishAll = () => {
  for (const task of ledger.tasks.values()) task.status = "succeeded";
};

export const keyOf = (id: string, tickAtMs: number) => `schedule:${id}@${tickAtMs}`;
/** The ticks that had a run, in minutes from the start. */
export const runsOf = (id: string) =>
  [...ledger.tasks.keys()]
    .filter((key) => key.startsWith(`schedule:${id}@`))
    .map((key) => (Number(key.split("@")[1]) - NOW) / MINUTE);

type SchedulerCall = (...args: unknown[]) => Promise<unknown>;

/** A scheduler that loses the call or the reply of a `method` while `isBroken` returns true. */
export function brokenScheduler(method: string, isBroken: () => boolean, lost: "call" | "reply" = "call") {
  const getByName = (name: string) => {
    const stub = env.SCHEDULER.getByName(name);
    return new Proxy(stub, {
      get: (_, key): unknown => {
        // Not `bind` or `apply`: a stub would take these for methods of the object.
        const rpc = stub as unknown as Record<string, SchedulerCall>;
        return async (...args: unknown[]) => {
          const breaks = key === method && isBroken();
          const reply = breaks && lost === "call" ? undefined : await rpc[String(key)]?.(...args);
          if (breaks) throw new Error("the scheduler cannot be reached");
          return reply;
        };
      },
    });
  };
  return { SCHEDULER: { getByName } };
}

export function useScheduler(): void {
  keepQuiet();
  beforeEach(async () => {
    await reset();
    replaceLedger();
    registerSchedules([]);
    vi.useFakeTimers({ toFake: ["Date"], now: NOW });
  });
  afterEach(() => {
    registerSchedules([]);
    vi.useRealTimers();
  });
}
