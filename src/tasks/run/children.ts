/**
 * Starting tasks as children, and waiting for them.
 *
 * The first call of a run that starts children is always the same one, and so is the second: their ids follow from the id of
 * the parent, the number of the call and their place in it. So whatever dies, no child is started twice.
 */

import { ZodError } from "zod";
import type { NewTask } from "../ledger/claim.ts";
import type { ChildEnd, WaitMode } from "../ledger/flow-rules.ts";
import type { ChildrenReply } from "../ledger/flow-work.ts";
import type { ChildOutcome } from "../ledger/flows.ts";
import { shardOf, shardOfType, taskIdOfKey } from "../ledger/task-id.ts";
import { checkAvailable } from "../types/availability.ts";
import { ChildTaskError, NonRetryableError, type Start, type TaskEnd } from "../types/define.ts";
import { knownIssues } from "../types/follow-ups.ts";
import { readJson } from "../types/json.ts";
import { validateStart } from "./new-task.ts";
import type { Parking } from "./parking.ts";
import { Interruption, type Run } from "./run.ts";

/** What the inputs of one call may have together: they travel in one message. */
const MAX_INPUT_LENGTH = 8 * 1024 * 1024;

interface Children {
  start: (starts: readonly Start[]) => Promise<string[]>;
  wait: (ids: readonly string[], mode: WaitMode) => Promise<unknown[]>;
}

export function createChildren({ env, claim, assignment, interrupt }: Run, parking: Parking): Children {
  const { taskId } = claim;
  let starts = 0;
  let waits = 0;

  /** The rest of outcomes that did not fit into one message. */
  const readAll = async (ids: readonly string[], first: ChildOutcome[]): Promise<ChildOutcome[]> => {
    const found = [...first];
    while (found.length < ids.length) {
      const rest = ids.slice(found.length);
      const more = await parking.ask(async (ledger) => ledger.childOutcomes(taskId, rest));
      if (more.length === 0)
        throw new Error("The ledger no longer knows how children of this task have ended.");
      found.push(...more);
    }
    return found;
  };

  return {
    async start(list) {
      const number = ++starts;
      const key = ` start ${number}`;
      const recorded = assignment.steps[key];
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the ledger wrote it
      if (recorded !== undefined) return readJson(recorded) as string[];
      checkAvailable(
        env,
        list.map(({ type }, i) => ({ type, at: `${i}/type` })),
      );
      const shard = shardOf(taskId) ?? "";
      const tasks = await Promise.all(
        list.map(async (start, i) => {
          if (start.unique ?? start.debounce)
            throw new NonRetryableError(`${i}: a child can have neither \`unique\` nor \`debounce\`.`);
          const id = taskIdOfKey(shardOfType(start.type, shard), `child:${taskId}:${number}:${i}`);
          return { ...(await validated(env, start, id, String(i))), lane: null };
        }),
      );
      if (tasks.reduce((sum, { input }) => sum + input.length, 0) > MAX_INPUT_LENGTH)
        throw new NonRetryableError(
          `The inputs of children have more than ${MAX_INPUT_LENGTH} characters: start them in several calls.`,
        );
      const reply = await parking.ask(async (ledger) => ledger.startChildren(claim, key, tasks));
      if ("ids" in reply) return reply.ids;
      if ("refused" in reply) throw new NonRetryableError(reply.refused);
      interrupt.abort(new Interruption("cancelled", "The task was cancelled."));
      throw interrupt.signal.reason;
    },

    async wait(ids, mode) {
      if (mode !== "all" && mode !== "allSettled")
        throw new RangeError('The mode of a wait for tasks is "all" or "allSettled".');
      parking.enter();
      const key = ` tasks ${++waits}`;
      const wanted = [...ids];
      const reply = await parking.waitUnder(key, async () => {
        const state = await parking.ask(async (ledger) => ledger.waitForTasks(claim, key, wanted, mode));
        return "untilMs" in state ? state : { end: state };
      });
      const ends = (await outcomesOf(reply, wanted, readAll)).map(endOf);
      return mode === "allSettled" ? ends : ends.map(resultOf);
    },
  };
}

/** An input that does not fit would not fit in another attempt either. */
async function validated(env: Env, start: Start, id: string, at: string): Promise<NewTask> {
  try {
    return await validateStart(env, start, id, at);
  } catch (error) {
    if (!(error instanceof ZodError)) throw error;
    const [place] = knownIssues(error, `${at}/input`, []);
    const why = place ? ` ${place.at}: ${place.detail}` : "";
    throw new NonRetryableError(
      `The input of a child does not fit the task type "${start.type.name}".${why}`,
      {
        cause: error,
      },
    );
  }
}

async function outcomesOf(
  reply: Exclude<ChildrenReply, { untilMs: number }>,
  ids: readonly string[],
  readAll: (ids: readonly string[], first: ChildOutcome[]) => Promise<ChildOutcome[]>,
): Promise<ChildOutcome[]> {
  if ("stranger" in reply)
    throw new NonRetryableError(`${reply.stranger} is no child of this task: it can wait only for those.`);
  return "failure" in reply ? [reply.failure] : readAll(ids, reply.outcomes);
}

function endOf({ id, outcome }: ChildOutcome): TaskEnd {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the ledger wrote it
  const { status, result = "null", error = null } = readJson(outcome) as ChildEnd;
  return status === "succeeded" ? { id, status, result: readJson(result) } : { id, status, error };
}

function resultOf(end: TaskEnd): unknown {
  if (end.status === "succeeded") return end.result;
  throw new ChildTaskError(end);
}
