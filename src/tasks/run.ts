/**
 * The fast lane: a task runs in the Worker that took its request, through `ctx.waitUntil`.
 *
 * The platform lets that go on for 30 s after the answer. While the task runs, heartbeats renew its claim; whatever
 * it returns or throws is reported to the ledger, more than once if the ledger is restarting just then.
 */
import type { z } from "zod";
import { describeError, errorFields, log } from "../kernel/log.ts";
import { RESTART_PAUSES_MS, retry } from "../kernel/retry.ts";
import type { TaskContext, TaskType } from "./define.ts";
import type { Claim, NewTask } from "./ledger.ts";
import { HEARTBEAT_MS, type Outcome } from "./rules.ts";
import { anyLedger, type Ledger, ledgerForKey, ledgerOf } from "./shards.ts";

/** The most JSON text that a task's input or result may be, in characters. */
export const MAX_JSON_LENGTH = 512 * 1024;

/** A task to start: its type, with an input that the type's schema takes. */
export interface Start<Input extends z.ZodType = z.ZodType> {
  type: TaskType<Input>;
  input: z.input<Input>;
}

/**
 * Writes tasks to the ledger (all or none), begins to run them side by side, and gives their ids. Once it has
 * answered, the tasks are kept. Throws if an input does not fit its type; nothing is started then.
 */
export async function startTasks(env: Env, ctx: Waiting, starts: Start[]): Promise<string[]> {
  return startOn(anyLedger(env), env, ctx, starts);
}

/** The same for one task, which is started once for each `key`, however often this is called; gives its id. */
export async function startTaskOnce(env: Env, ctx: Waiting, start: Start, key: string): Promise<string> {
  const [id = ""] = await startOn(ledgerForKey(env, key), env, ctx, [start], key);
  return id;
}

type Waiting = Pick<ExecutionContext, "waitUntil">;

async function startOn(
  ledger: Ledger,
  env: Env,
  ctx: Waiting,
  starts: Start[],
  key?: string,
): Promise<string[]> {
  const prepared = starts.map(({ type, input }) => ({ type, input: type.input.parse(input) }));
  const rows = prepared.map(
    ({ type, input }): NewTask => ({
      type: type.name,
      input: toJson(input),
      ...(key === undefined ? {} : { key }),
    }),
  );
  const claims = await ledger.startTasks(rows);
  for (const [i, { type, input }] of prepared.entries()) {
    const claim = claims[i];
    if (claim?.isNew) ctx.waitUntil(runTask(env, type, input, claim));
  }
  return claims.map((claim) => claim.taskId);
}

async function runTask(env: Env, type: TaskType, input: unknown, claim: Claim): Promise<void> {
  const about = { taskId: claim.taskId, type: type.name, attempt: claim.token };
  const context: TaskContext = {
    taskId: claim.taskId,
    attempt: claim.token,
    log: (level, message, fields) => log(level, message, { ...about, ...fields }),
  };
  const heartbeat = setInterval(() => {
    sendHeartbeat(env, claim).catch((error: unknown) =>
      log("warn", "heartbeat failed", { ...about, ...errorFields(error) }),
    );
  }, HEARTBEAT_MS);
  try {
    const outcome = await attempt(type, context, input);
    await retry(async () => ledgerOf(env, claim.taskId)?.finish(claim, outcome), RESTART_PAUSES_MS);
  } catch (error) {
    log("error", "the end of a task could not be reported", { ...about, ...errorFields(error) });
  } finally {
    clearInterval(heartbeat);
  }
}

async function attempt(type: TaskType, context: TaskContext, input: unknown): Promise<Outcome> {
  try {
    const result = await type.run(context, input);
    return { status: "succeeded", result: toJson(result ?? null) };
  } catch (error) {
    context.log("error", "task failed", errorFields(error));
    return { status: "failed", error: describeError(error) };
  }
}

async function sendHeartbeat(env: Env, claim: Claim): Promise<void> {
  await ledgerOf(env, claim.taskId)?.heartbeat(claim);
}

/** JSON text of a task's input or result. Throws if it has none, or too much. */
function toJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError("A task's input and result must be JSON.");
  if (text.length <= MAX_JSON_LENGTH) return text;
  throw new RangeError(
    `A task's input and result are at most ${MAX_JSON_LENGTH} characters of JSON; keep more in a file.`,
  );
}
