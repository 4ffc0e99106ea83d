/**
 * Tasks on their way to another shard: follow-ups of a type with a `concurrency`, which has a shard of its own.
 *
 * Such a task is written here in the transaction that decides it, and leaves when the other shard has it. Its id is fixed
 * before, so that it can be sent again without harm. Whatever dies in between, it arrives.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import type { Alarm } from "./alarm.ts";
import type { NewTask } from "./claim.ts";
import { Outbox } from "./outbox.ts";
import { submitAlone } from "./shards.ts";

export type Handovers = Outbox<NewTask>;

export const createHandovers = (ctx: DurableObjectState, env: Env, alarm: Alarm): Handovers =>
  new Outbox<NewTask>(ctx, alarm, {
    table: "handover",
    column: "task",
    onFailure: (taskId, error) =>
      log("error", "a follow-up could not be handed over to its shard", { taskId, ...errorFields(error) }),
    deliver: async (task) => callObject(async () => submitAlone(env, [task])),
  });
