/**
 * The follow-ups of a task that has succeeded: written in the transaction of its end, so that they exist exactly if it does.
 *
 * Each has its input filled in here. One whose input cannot be filled in exists as well, as failed, with an error that says
 * why. It has never started, and so it cannot be retried: there is no input that it could run with.
 */
import { describeError } from "../../kernel/log.ts";
import type { FollowUp } from "../types/follow-ups.ts";
import { MAX_JSON_BYTES } from "../types/json.ts";
import { findTaskType } from "../types/registry.ts";
import { keptTags } from "../types/tags.ts";
import { fillTemplate, type Scope } from "../types/template.ts";
import type { NewTask } from "./claim.ts";
import { type RuleInputs, submit, submitFailed } from "./rules.ts";
import { newTaskId, shardOf, shardOfType } from "./task-id.ts";
import type { TaskError } from "./task-state.ts";

/** A follow-up as the ledger is to write it: to be run, or failed. */
export interface Started {
  task: NewTask;
  error?: TaskError;
}

/**
 * The tasks that follow a task, each with an id of its own. `then`: as `readFollowUps` has accepted it, as JSON text.
 * `shard`: where the task is; a follow-up whose type has a shard of its own gets an id of that one.
 */
export function startFollowUps(then: string, scope: Scope, shard: string, nowMs: number): Started[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it was checked before it was kept
  const list = JSON.parse(then) as FollowUp[];
  return list.map((followUp) => startFollowUp(followUp, scope, shard, nowMs));
}

function startFollowUp(followUp: FollowUp, scope: Scope, shard: string, nowMs: number): Started {
  const { type: name, priority, delay, callback_url, tags, then } = followUp;
  const template = JSON.stringify(followUp.input);
  const task = {
    type: name,
    input: template,
    priority,
    runAtMs: delay === undefined ? 0 : nowMs + Math.ceil(delay * 1000),
    callbackUrl: callback_url ?? null,
    lane: null,
    ...keptTags(tags),
    ...(then ? { then: JSON.stringify(then) } : {}),
  };
  try {
    const input = fillTemplate(template, scope, MAX_JSON_BYTES);
    if (Buffer.byteLength(input) > MAX_JSON_BYTES)
      throw new RangeError(`its input would have more than ${MAX_JSON_BYTES} bytes of JSON`);
    const type = findTaskType(name);
    return { task: { ...task, input, id: newTaskId(type ? shardOfType(type, shard) : shard) } };
  } catch (error) {
    // It never runs, so it may be here whatever its type.
    return { task: { ...task, id: newTaskId(shard) }, error: describeError(error) };
  }
}

/** Whether a follow-up is written here, and not handed over. */
export const isHere = ({ task }: Started, shard: string): boolean => shardOf(task.id) === shard;

/** How a follow-up begins. */
export const beginningOf = ({ task, error }: Started, inputs: RuleInputs) =>
  error
    ? submitFailed(task.priority, error, inputs)
    : submit(task.priority, task.runAtMs, null, inputs.nowMs);
