/**
 * Callbacks: when a task ends, a webhook reports it to the URL that its caller gave.
 *
 * Sending a callback is a task itself, written in one transaction with the end that it reports. So it is as durable as
 * the task, is retried, and can be watched. It may arrive more than once; all tries have the same `webhook-id`.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import {
  CALLBACK_TYPE,
  defineTask,
  getTask,
  NonRetryableError,
  type Task,
  type TaskContext,
} from "../../tasks/index.ts";
import { checkKeys, DELIVERY_LIMITS, deliverWebhook } from "./delivery.ts";

/** The task, which of its ends to report, and where. */
const inputSchema = z.object({ taskId: z.string(), finishedAt: z.string(), url: z.string() });

export const callback = defineTask({
  name: CALLBACK_TYPE,
  input: inputSchema,
  ...DELIVERY_LIMITS,
  run: async (ctx, input) => deliver(workerEnv, ctx, input),
});

/** One try of a callback. Throws if it must be retried, and a `NonRetryableError` if a retry would be useless. */
export async function deliver(
  env: Env,
  ctx: TaskContext,
  { taskId, finishedAt, url }: z.output<typeof inputSchema>,
): Promise<{ status: number }> {
  checkKeys(env);
  const task = await getTask(env, taskId);
  if (!task) throw new NonRetryableError(`the task ${taskId} has been deleted`);
  if (task.finishedAt !== finishedAt)
    throw new NonRetryableError(
      `the task ${taskId} has been run again, and its next end has a callback of its own`,
    );
  const webhook = { url, message: toMessage(task), name: `the callback of ${taskId}`, sender: CALLBACK_TYPE };
  return deliverWebhook(env, ctx, webhook);
}

/** The body of a callback. */
export function toMessage(task: Task): string {
  return JSON.stringify({ type: `task.${task.status}`, timestamp: task.finishedAt, data: task });
}
