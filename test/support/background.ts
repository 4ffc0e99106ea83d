/** Running tasks: on the real ledger, observed through the API, or on a ledger that the test scripts. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { z } from "zod";
import { defineTask, type Start, startTasks } from "../../src/tasks/index.ts";
import type { Claim, NewTask, Report } from "../../src/tasks/ledger/claim.ts";
import { LEASE_MS } from "../../src/tasks/ledger/rules.ts";
import { ledgerOf } from "../../src/tasks/ledger/shards.ts";
import { newTaskId } from "../../src/tasks/ledger/task-id.ts";
import type { Lane, TaskContext, TaskType } from "../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../src/tasks/types/registry.ts";
import { callForJson } from "./call.ts";

type Options = Partial<Omit<TaskType, "retry">> & { retry?: Partial<TaskType["retry"]> };

/** A new registered type that accepts any input. No other test may use its name. */
export function newType(name: string, run: (ctx: TaskContext) => Promise<unknown>, options: Options = {}) {
  const type = defineTask({ input: z.unknown(), ...options, name, run });
  registerTaskTypes([type]);
  return type;
}

/** Starts tasks, waits until they have done all that they do in this invocation, and returns them from the API. */
export async function runTasks(starts: Start[], variables: Record<string, unknown> = {}) {
  const ctx = createExecutionContext();
  const ids = await startTasks({ ...env, ...variables }, ctx, starts);
  await waitOnExecutionContext(ctx);
  return Promise.all(ids.map(fetchTask));
}

export async function fetchTask(id: string) {
  return (await callForJson(`/tasks/${id}`)).body;
}

/** The task, as soon as it has one of these statuses. */
export async function taskWhen(id: string, ...statuses: string[]) {
  for (const untilMs = performance.now() + 10_000; ; ) {
    const task = await fetchTask(id);
    if (statuses.includes(String(task.status))) return task;
    if (performance.now() > untilMs) throw new Error(`${id} is still ${JSON.stringify(task)}`);
    await scheduler.wait(5);
  }
}

export const whenEnded = async (id: string) => taskWhen(id, "succeeded", "failed", "cancelled");

/** Resolves when `holds` returns true. Works across Durable Objects too, which cannot share promises. */
export async function until(holds: () => boolean): Promise<void> {
  for (const untilMs = performance.now() + 10_000; !holds(); await scheduler.wait(2))
    if (performance.now() > untilMs) throw new Error(`still not true after 10 s: ${String(holds)}`);
}

/** Resolves when the signal aborts; rejects with its reason. */
export async function untilAborted(signal: AbortSignal): Promise<never> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve());
  if (!signal.aborted) await promise;
  throw signal.reason;
}

/** Writes a task to the ledger as it is, without the checks of its type and input. Returns its id and first claim. */
export async function submitUnchecked(type: string, input: unknown, lane: Lane | null = null) {
  const id = newTaskId("s1");
  const task = { id, type, input: JSON.stringify(input), priority: 0, runAtMs: 0, callbackUrl: null, lane };
  const [claim] = (await ledgerOf(env, id)?.submit([task])) ?? [];
  return { id, claim: claim ? { taskId: claim.taskId, token: claim.token } : undefined };
}

/** A ledger that accepts every call and records it. `script` replaces single methods. */
export function scriptedLedger(
  script: Partial<Record<"renew" | "heartbeat" | "step" | "saveCheckpoint" | "progress" | "commit", unknown>>,
) {
  const received = {
    reports: [] as Report[],
    steps: [] as [string, string][],
    checkpoints: [] as string[],
    progress: [] as [number, string | null][],
    heartbeats: 0,
  };
  const ledger = {
    renew: async () => {
      received.heartbeats++;
      return { reply: "ok", leaseMs: LEASE_MS };
    },
    step: async (_claim: Claim, name: string, text: string) => {
      received.steps.push([name, text]);
      return true;
    },
    saveCheckpoint: async (_claim: Claim, text: string) => {
      received.checkpoints.push(text);
      return true;
    },
    progress: async (_claim: Claim, ratio: number, message: string | null) => {
      received.progress.push([ratio, message]);
      return true;
    },
    report: async (reports: Report[]) => void received.reports.push(...reports),
    commit: async (_submissions: NewTask[][], reports: Report[]) => {
      received.reports.push(...reports);
      return [];
    },
    ...script,
  };
  return { received, env: withLedger(() => ledger) };
}

/** The bindings, with replaced ledgers: `of` returns the replacement for the ledger with a name. */
export function withLedger(of: (name: string) => unknown): Env {
  return Object.assign({}, env, { TASK_LEDGER: { getByName: of } });
}

/** A task id on a shard, of a task that does not exist. */
export const someId = (shard = "s0") => `${shard}-${crypto.randomUUID()}`;
