/** The figures of the objects that keep tasks and schedules, for `GET /metrics`. */
import { type Reading, readObject } from "../../kernel/readings.ts";
import { ledgerOn, schedulerOf } from "../ledger/shards.ts";
import { isShard } from "../ledger/task-id.ts";

/** `existing`: the objects that exist, each as `BINDING/name`; others than these are left out. */
export async function readTaskFigures(env: Env, existing: readonly string[]): Promise<Reading[]> {
  const readings = existing.flatMap((object) => {
    const [binding, name = ""] = object.split("/");
    if (binding === "TASK_LEDGER" && isShard(name))
      return [readObject({ object: "ledger", name, group: "" }, async () => ledgerOn(env, name).figures())];
    if (binding === "SCHEDULER")
      return [readObject({ object: "scheduler", name, group: "" }, async () => schedulerOf(env).figures())];
    return [];
  });
  return Promise.all(readings);
}
