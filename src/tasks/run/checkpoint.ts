/**
 * The checkpoint of a task: where its work is, each in place of the one before. What the code reads is what JSON has kept,
 * in the run that saved it as in any later one.
 */
import { callObject, lacksMethod } from "../../kernel/objects.ts";
import { ledgerOf } from "../ledger/shards.ts";
import { MAX_CHECKPOINT_BYTES, readJson, toJson } from "../types/json.ts";
import { Interruption, type Run } from "./run.ts";

/** When a task goes on whose ledger is still of a version without checkpoints. */
const OLD_LEDGER_PAUSE_MS = 5_000;

interface Checkpoint {
  /** Undefined if nothing was saved. */
  read: () => unknown;
  save: (value: unknown) => Promise<void>;
}

export function createCheckpoint({ env, claim, assignment, interrupt }: Run): Checkpoint {
  let latest = assignment.checkpoint;
  /** Saves one after the other, so that the last to be asked for is the last to arrive. */
  let saving = Promise.resolve();

  const send = async (text: string) => {
    interrupt.signal.throwIfAborted();
    const call = async () => ledgerOf(env, claim.taskId)?.saveCheckpoint(claim, text);
    const isSaved = await callObject(call).catch((error: unknown) => {
      if (!lacksMethod(error)) throw error;
      const message = "The ledger is of an earlier version, which has no checkpoints.";
      interrupt.abort(new Interruption("hand-over", message, Date.now() + OLD_LEDGER_PAUSE_MS));
      throw interrupt.signal.reason;
    });
    if (!isSaved) interrupt.abort(new Interruption("lost", "Another run has taken over the task."));
    interrupt.signal.throwIfAborted();
    latest = text;
  };

  return {
    read: () => (latest === undefined ? undefined : readJson(latest)),
    save: async (value) => {
      const text = toJson(value, "checkpoint", MAX_CHECKPOINT_BYTES);
      const before = saving;
      const sent = (async () => {
        await before;
        await send(text);
      })();
      saving = sent.catch(() => undefined);
      return sent;
    },
  };
}
