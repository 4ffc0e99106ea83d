/**
 * `bulk_tasks`: cancels, retries or deletes every task that matches a filter, in pieces of bounded work.
 *
 * Which tasks are meant is fixed when the task begins. Each piece is chosen and saved as a checkpoint before it is acted on:
 * whatever dies in between, the next run acts on that piece again, which changes nothing more and counts the same. So each task
 * counts once.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import {
  actOnTasks,
  BULK_ACTIONS,
  type BulkPlace,
  type BulkPlan,
  chooseTasks,
  defineTask,
  filterSchema,
  type TaskContext,
  taskShards,
  toFilter,
} from "../../tasks/index.ts";

/** How many tasks one piece acts on: the object that keeps them is busy meanwhile. */
const PIECE = 250;

export const bulkSchema = z.strictObject({
  action: z.enum(BULK_ACTIONS),
  filter: filterSchema,
});

type Input = z.output<typeof bulkSchema>;

export const bulkTasks = defineTask({
  name: "bulk_tasks",
  input: bulkSchema.meta({
    examples: [{ action: "retry", filter: { type: "task_a", tag: ["customer:42"] } }],
  }),
  timeoutMs: 6 * 3_600_000,
  lane: "long",
  run: async (ctx, input) => actOnMatching(workerEnv, ctx, input),
});

/** Where the work is. Before it goes on, `chosen` must be acted on. */
interface Position {
  beganMs: number;
  shards: string[];
  /** The number of the current shard, and where in it the next piece begins; null: at its newest task. */
  shard: number;
  after: BulkPlace | null;
  chosen: { shard: string; ids: string[] } | null;
  done: number;
  skipped: number;
  failed: number;
}

export async function actOnMatching(env: Env, ctx: TaskContext, { action, filter }: Input) {
  const position = ctx.checkpoint<Position>() ?? (await begin(env, ctx));
  const plan: BulkPlan = { action, filter: toFilter(filter), beganMs: position.beganMs };
  for (;;) {
    ctx.signal.throwIfAborted();
    if (position.chosen) await act(env, plan, position);
    const shard = position.shards[position.shard];
    if (shard === undefined) break;
    await choose(env, plan, shard, position, ctx.taskId);
    const { done, skipped, failed } = position;
    ctx.progress(
      position.shard / position.shards.length,
      `${done} done, ${skipped} skipped, ${failed} failed`,
    );
    if (position.chosen) await ctx.saveCheckpoint(position);
  }
  const { done, skipped, failed } = position;
  return { action, done, skipped, failed };
}

async function begin(env: Env, ctx: TaskContext): Promise<Position> {
  const position: Position = {
    beganMs: Date.now(),
    shards: await taskShards(env),
    shard: 0,
    after: null,
    chosen: null,
    done: 0,
    skipped: 0,
    failed: 0,
  };
  await ctx.saveCheckpoint(position);
  return position;
}

/** Chooses the next piece, without the task that does all this. */
async function choose(env: Env, plan: BulkPlan, shard: string, position: Position, ownId: string) {
  const { ids, next } = await chooseTasks(env, shard, plan, position.after, PIECE);
  position.after = next;
  if (next === null) position.shard++;
  const others = ids.filter((id) => id !== ownId);
  position.chosen = others.length > 0 ? { shard, ids: others } : null;
}

async function act(env: Env, plan: BulkPlan, position: Position) {
  const { chosen } = position;
  if (!chosen) return;
  const { done, skipped, failed } = await actOnTasks(env, chosen.shard, plan, chosen.ids);
  position.done += done;
  position.skipped += skipped;
  position.failed += failed;
  position.chosen = null;
}
