/**
 * The steps of a run: each is done once, and recorded. The code receives what the record holds, in the run that does the
 * step as in any later one, so that it does not depend on which of the two it is.
 */
import { callObject } from "../../kernel/objects.ts";
import { ledgerOf } from "../ledger/shards.ts";
import { readJson, toJson } from "../types/json.ts";
import { Interruption, type Run } from "./run.ts";

/**
 * The limits for all steps of a task together, in steps and characters: the next run receives them in one message.
 */
const MAX_STEPS = 1_000;
const MAX_STEPS_LENGTH = 8 * 1024 * 1024;

type RunStep = <T>(name: string, action: () => Promise<T>) => Promise<T>;

/** A function that runs a step once: it returns the recorded result if there is one, else records a new one. */
export function createSteps({ env, claim, assignment, interrupt }: Run): RunStep {
  const recorded = new Map(Object.entries(assignment.steps));
  const started = new Set<string>();
  const room = { steps: MAX_STEPS, length: MAX_STEPS_LENGTH };
  const takeRoom = (name: string, text: string, sign: 1 | -1) => {
    room.steps -= sign;
    room.length -= sign * (name.length + text.length);
  };
  for (const [name, text] of recorded) takeRoom(name, text, 1);

  const record = async (name: string, text: string) => {
    takeRoom(name, text, 1);
    try {
      if (room.steps < 0 || room.length < 0)
        throw new RangeError(
          `A task may record at most ${MAX_STEPS} steps, with at most ${MAX_STEPS_LENGTH} characters in all.`,
        );
      const send = async () => ledgerOf(env, claim.taskId)?.step(claim, name, text);
      if (await callObject(send)) return;
      interrupt.abort(new Interruption("lost", "Another run has taken over the task."));
      interrupt.signal.throwIfAborted();
    } catch (error) {
      takeRoom(name, text, -1);
      throw error;
    }
  };

  const textOf = async (name: string, action: () => Promise<unknown>): Promise<string> => {
    const before = recorded.get(name);
    if (before !== undefined) return before;
    const text = toJson(await action(), `step ${JSON.stringify(name)}: result`);
    await record(name, text);
    return text;
  };

  return async <T>(name: string, action: () => Promise<T>): Promise<T> => {
    interrupt.signal.throwIfAborted();
    if (started.has(name))
      throw new TypeError(`There are two steps "${name}"; each step needs a name of its own.`);
    started.add(name);
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is what this step returned, as JSON keeps it
      return readJson(await textOf(name, action)) as T;
    } catch (error) {
      started.delete(name); // the code may try the step again
      throw error;
    }
  };
}
