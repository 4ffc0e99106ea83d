/** One action on all tasks that match a filter, shard by shard and piece by piece. `ledger/bulk.ts` has the rules. */
import { ableTasks, type BulkAction, type BulkOutcome } from "../ledger/bulk.ts";
import { type TaskLine, toLine } from "../ledger/schema.ts";
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import type { TaskFilter } from "../ledger/task-filter.ts";
import { byAge, type Page } from "../ledger/task-queries.ts";

/** Which tasks: those that match the filter, and that the action can be done to, when it begins. */
export interface BulkPlan {
  action: BulkAction;
  filter: TaskFilter;
  /** Ms since the epoch. */
  beganMs: number;
}

export type BulkPlace = Page["before"];

const START: BulkPlace = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "" };
/** How long a preview counts. */
const PREVIEW_MS = 5_000;
const EXAMPLES = 5;

/** The ids of the next tasks of a shard, newest first, and where the following piece begins; null after the last one. */
export async function chooseTasks(
  env: Env,
  shard: string,
  { action, filter, beganMs }: BulkPlan,
  after: BulkPlace | null,
  limit: number,
): Promise<{ ids: string[]; next: BulkPlace | null }> {
  const able = ableTasks(filter, action, beganMs);
  if (!able) return { ids: [], next: null };
  const search = { filter: able, before: after ?? START, limit };
  const { rows, until } = await callLedger(async () => ledgerOn(env, shard).search(search));
  return { ids: rows.map(({ id }) => id), next: until };
}

/** Acts on tasks of a shard. It can be repeated safely, and then counts each task as before. */
export async function actOnTasks(
  env: Env,
  shard: string,
  { action, beganMs }: BulkPlan,
  taskIds: readonly string[],
): Promise<Omit<BulkOutcome, "left">> {
  const sum = { done: 0, skipped: 0, failed: 0 };
  for (let left = [...taskIds]; left.length > 0; ) {
    const ids = left;
    const outcome = await callLedger(async () => ledgerOn(env, shard).actOn(action, ids, beganMs));
    for (const name of ["done", "skipped", "failed"] as const) sum[name] += outcome[name];
    left = outcome.left;
  }
  return sum;
}

/** How many tasks an action would be done to, and the newest of them. `complete`: all were counted within some seconds. */
export async function previewBulk(
  env: Env,
  { action, filter, beganMs }: BulkPlan,
): Promise<{ count: number; complete: boolean; examples: TaskLine[] }> {
  const able = ableTasks(filter, action, beganMs);
  if (!able) return { count: 0, complete: true, examples: [] };
  const untilMs = Date.now() + PREVIEW_MS;
  const parts = await Promise.all(
    (await shardsInUse(env)).map(async (shard) => count(env, shard, able, untilMs)),
  );
  return {
    count: parts.reduce((sum, part) => sum + part.count, 0),
    complete: parts.every((part) => part.complete),
    examples: parts
      .flatMap((part) => part.examples)
      .toSorted(byAge)
      .slice(0, EXAMPLES)
      .map(toLine),
  };
}

async function count(env: Env, shard: string, filter: TaskFilter, untilMs: number) {
  const { rows: examples } = await callLedger(async () =>
    ledgerOn(env, shard).search({ filter, before: START, limit: EXAMPLES }),
  );
  for (let sum = 0, before = START; ; ) {
    const from = before;
    const piece = await callLedger(async () => ledgerOn(env, shard).countFound(filter, from));
    sum += piece.count;
    if (piece.until === null || Date.now() >= untilMs)
      return { count: sum, complete: piece.until === null, examples };
    before = piece.until;
  }
}
