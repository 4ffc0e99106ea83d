/** The tree around a task: the statuses of its children that are on other shards. */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import type { TaskView } from "../ledger/schema.ts";
import { ledgerOn } from "../ledger/shards.ts";
import { shardOf } from "../ledger/task-id.ts";
import type { TaskStatus } from "../ledger/task-state.ts";

/** A shard that does not respond leaves its children unknown: the task itself is what was asked for. */
export async function withTree(env: Env, row: TaskView): Promise<TaskView> {
  const { children = [] } = row.flow ?? {};
  const unknown = children.filter(({ status }) => status === null).map(({ id }) => id);
  if (unknown.length === 0) return row;
  const parts = await Promise.all(
    [...Map.groupBy(unknown, (id) => shardOf(id) ?? "")].map(async ([shard, ids]) =>
      callObject(async () => ledgerOn(env, shard).statusesOf(ids)).catch(
        (error: unknown): Record<string, TaskStatus> => {
          log("warn", "the children of a task on another shard are not known", {
            shard,
            ...errorFields(error),
          });
          return {};
        },
      ),
    ),
  );
  const statuses: Record<string, TaskStatus> = Object.assign({}, ...parts);
  const known = children.map((child) => ({ ...child, status: child.status ?? statuses[child.id] ?? null }));
  return { ...row, flow: { ...row.flow, children: known } };
}
