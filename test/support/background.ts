/** Running tasks: on the real ledger, seen through the front door; and on a ledger that a test scripts. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { z } from "zod";
import { defineTask, type Start, startTasks } from "../../src/tasks/index.ts";
import type { Claim, Report } from "../../src/tasks/ledger/claim.ts";
import type { TaskContext, TaskType } from "../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../src/tasks/types/registry.ts";
import { callForJson } from "./call.ts";

type Options = Partial<Omit<TaskType, "retry">> & { retry?: Partial<TaskType["retry"]> };

/** A registered type that takes anything. Its name must be the only one in all of the tests. */
export function newType(name: string, run: (ctx: TaskContext) => Promise<unknown>, options: Options = {}) {
  const type = defineTask({ input: z.unknown(), ...options, name, run });
  registerTaskTypes([type]);
  return type;
}

/** Starts tasks, waits until what they do in this invocation is over, and gives what the front door says of them. */
export async function runTasks(starts: Start[], variables: Record<string, unknown> = {}) {
  const ctx = createExecutionContext();
  const ids = await startTasks({ ...env, ...variables }, ctx, starts);
  await waitOnExecutionContext(ctx);
  return Promise.all(ids.map(fetchTask));
}

export async function fetchTask(id: string) {
  return (await callForJson(`/tasks/${id}`)).body;
}

/** The task, once it has one of these statuses. */
export async function taskWhen(id: string, ...statuses: string[]) {
  for (const untilMs = performance.now() + 10_000; ; ) {
    const task = await fetchTask(id);
    if (statuses.includes(String(task.status))) return task;
    if (performance.now() > untilMs) throw new Error(`${id} is still ${JSON.stringify(task)}`);
    await scheduler.wait(5);
  }
}

export const whenEnded = async (id: string) => taskWhen(id, "succeeded", "failed", "cancelled");

/** Resolves when `holds` does; also across Durable Objects, which do not share their promises. */
export async function until(holds: () => boolean): Promise<void> {
  for (const untilMs = performance.now() + 10_000; !holds(); await scheduler.wait(2))
    if (performance.now() > untilMs) throw new Error(`waited in vain: ${String(holds)}`);
}

/** Resolves when the signal aborts; rejects with its reason. */
export async function untilAborted(signal: AbortSignal): Promise<never> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve());
  if (!signal.aborted) await promise;
  throw signal.reason;
}

/** A ledger that says yes, and keeps what it was received. What a test gives takes the place of an answer. */
export function scriptedLedger(
  script: Partial<Record<"heartbeat" | "step" | "progress" | "report", unknown>>,
) {
  const received = {
    reports: [] as Report[],
    steps: [] as [string, string][],
    progress: [] as [number, string | null][],
    heartbeats: 0,
  };
  const ledger = {
    heartbeat: async () => {
      received.heartbeats++;
      return "ok";
    },
    step: async (_claim: Claim, name: string, text: string) => {
      received.steps.push([name, text]);
      return true;
    },
    progress: async (_claim: Claim, ratio: number, message: string | null) => {
      received.progress.push([ratio, message]);
      return true;
    },
    report: async (reports: Report[]) => void received.reports.push(...reports),
    ...script,
  };
  return { received, env: withLedger(() => ledger) };
}

/** The bindings, with other ledgers: `of` gives what stands for the one with a name. */
export function withLedger(of: (name: string) => unknown): Env {
  return Object.assign({}, env, { TASK_LEDGER: { getByName: of } });
}

/** A task id on a shard; nobody knows of it. */
export const someId = (shard = "s0") => `${shard}-${crypto.randomUUID()}`;
