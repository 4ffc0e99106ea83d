/**
 * Reports on their way to the ledger. Those of the fast lane travel with whatever else their isolate sends to the shard
 * (`group-commit.ts`). An object sends its own alone: what it waits for should not depend on other objects. A ledger that
 * gets a report twice applies it once.
 */

import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import type { Report } from "../ledger/claim.ts";
import { ledgerOn } from "../ledger/shards.ts";
import { shardOf } from "../ledger/task-id.ts";
import { reportInGroup } from "./group-commit.ts";

export type Travels = "together" | "alone";

/** Whether the ledger has the report. If it cannot be reached, that is written to the log. */
export async function deliver(env: Env, report: Report, travels: Travels): Promise<boolean> {
  const { taskId } = report;
  const shard = shardOf(taskId);
  if (shard === undefined) return true;
  const inGroup = async (untilMs: number) => reportInGroup(env, shard, report, untilMs);
  const alone = async () => ledgerOn(env, shard).report([report]);
  try {
    await (travels === "together" ? callObject(inGroup, { keepsDeadline: true }) : callObject(alone));
    return true;
  } catch (error) {
    log("error", "the outcome of a run could not be reported", { taskId, ...errorFields(error) });
    return false;
  }
}
