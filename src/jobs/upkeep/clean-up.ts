/**
 * `clean_up`: removes files by prefix and age, and tasks that ended long ago, in pieces of bounded work.
 *
 * What "old" means is fixed when the task begins, so a run that goes on later removes nothing younger. Each piece is chosen,
 * counted and saved as a checkpoint before it is removed, by version: whatever dies in between, the next run removes the
 * rest of that piece, counts nothing twice, and leaves a file that was replaced meanwhile.
 *
 * An upload in progress is not a file yet, and is never touched.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import {
  CATALOGUE_COUNT,
  fileIdSchema,
  findOldFiles,
  type OldFile,
  removeOldFiles,
} from "../../files/index.ts";
import {
  defineTask,
  FINAL_STATUSES,
  findEndedTasks,
  removeEndedTasks,
  type TaskContext,
  type TaskCursor,
  taskShards,
} from "../../tasks/index.ts";

const DAY_MS = 86_400_000;
/** How many files or tasks one piece looks at: the object that keeps them is busy meanwhile. */
const PIECE = 250;

const olderThan = z
  .number()
  .positive()
  .max(36_500)
  .meta({ description: "In days. Files: since they were stored. Tasks: since they ended." });

const fileRuleSchema = z.strictObject({
  prefix: z
    .union([z.literal(""), fileIdSchema], { error: 'the beginning of an id, or "" for all files' })
    .meta({ description: "Only files whose id begins with this." }),
  older_than_days: olderThan,
});
const taskRuleSchema = z.strictObject({
  status: z.enum(FINAL_STATUSES),
  type: z.string().optional().meta({ description: "Only tasks of this type." }),
  older_than_days: olderThan,
});

const inputSchema = z
  .strictObject({
    files: z.array(fileRuleSchema).max(20).default([]),
    tasks: z.array(taskRuleSchema).max(20).default([]),
    dry_run: z.boolean().default(false).meta({ description: "Count what would be removed, and leave it." }),
  })
  .refine(({ files, tasks }) => files.length + tasks.length > 0, {
    error: "name what to remove, in files or tasks",
    path: ["files"],
  })
  .meta({
    examples: [
      {
        files: [{ prefix: "export-", older_than_days: 30 }],
        tasks: [{ status: "succeeded", type: "http_request", older_than_days: 1 }],
        dry_run: true,
      },
    ],
  });

type Input = z.output<typeof inputSchema>;

export const cleanUp = defineTask({
  name: "clean_up",
  input: inputSchema,
  timeoutMs: 6 * 3_600_000,
  lane: "long",
  run: async (ctx, input) => clean(workerEnv, ctx, input),
});

/** A part of what a rule looks at. */
type Place =
  | { kind: "files"; rule: number; catalogue: number }
  | { kind: "tasks"; rule: number; shard: string };

/** Where the work is. Before it goes on, `chosen` must be removed. */
interface Position {
  startedAtMs: number;
  shards: string[];
  /** The number of the current place. */
  place: number;
  /** Where in that place the next piece begins; null: at its beginning. */
  after: string | TaskCursor | null;
  chosen: { place: number; files: Omit<OldFile, "size">[]; taskIds: string[] } | null;
  files: { count: number; bytes: number }[];
  tasks: { count: number }[];
}

export async function clean(env: Env, ctx: TaskContext, input: Input) {
  const position = ctx.checkpoint<Position>() ?? (await begin(env, ctx, input));
  const places = placesOf(input, position.shards);
  for (;;) {
    ctx.signal.throwIfAborted();
    if (position.chosen) await remove(env, input, places, position);
    const place = places[position.place];
    if (!place) break;
    const hasFound = await choose(env, input, place, position);
    ctx.progress(position.place / places.length, describe(position));
    if (hasFound) await ctx.saveCheckpoint(position);
    // A dry run removes nothing, and so needs no look back.
    if (input.dry_run) position.chosen = null;
  }
  return resultOf(input, position);
}

async function begin(env: Env, ctx: TaskContext, input: Input): Promise<Position> {
  const position: Position = {
    startedAtMs: Date.now(),
    shards: await taskShards(env),
    place: 0,
    after: null,
    chosen: null,
    files: input.files.map(() => ({ count: 0, bytes: 0 })),
    tasks: input.tasks.map(() => ({ count: 0 })),
  };
  await ctx.saveCheckpoint(position);
  return position;
}

function placesOf({ files, tasks }: Input, shards: readonly string[]): Place[] {
  const catalogues = Array.from({ length: CATALOGUE_COUNT }, (_, number) => number);
  return [
    ...files.flatMap((_, rule) => catalogues.map((catalogue): Place => ({ kind: "files", rule, catalogue }))),
    ...tasks.flatMap((_, rule) => shards.map((shard): Place => ({ kind: "tasks", rule, shard }))),
  ];
}

const beforeMs = ({ older_than_days }: { older_than_days: number }, { startedAtMs }: Position) =>
  startedAtMs - older_than_days * DAY_MS;

/** Chooses and counts the next piece. Returns whether there is anything in it. */
async function choose(env: Env, input: Input, place: Place, position: Position): Promise<boolean> {
  const { after } = position;
  position.chosen = { place: position.place, files: [], taskIds: [] };
  const next =
    place.kind === "files"
      ? await chooseFiles(env, input, place, position, typeof after === "string" ? after : undefined)
      : await chooseTasks(env, input, place, position, typeof after === "string" ? null : after);
  position.after = next;
  if (next === null) position.place++;
  const { files, taskIds } = position.chosen;
  const hasFound = files.length + taskIds.length > 0;
  if (!hasFound) position.chosen = null;
  return hasFound;
}

async function chooseFiles(
  env: Env,
  input: Input,
  { rule: number, catalogue }: Extract<Place, { kind: "files" }>,
  position: Position,
  after: string | undefined,
): Promise<string | null> {
  const rule = input.files[number];
  const sum = position.files[number];
  if (!rule || !sum) return null;
  const query = { catalogue, prefix: rule.prefix, beforeMs: beforeMs(rule, position), after, limit: PIECE };
  const { files, next } = await findOldFiles(env, query);
  sum.count += files.length;
  for (const { id, blob, size } of files) {
    sum.bytes += size;
    position.chosen?.files.push({ id, blob });
  }
  return next;
}

async function chooseTasks(
  env: Env,
  input: Input,
  { rule: number, shard }: Extract<Place, { kind: "tasks" }>,
  position: Position,
  after: TaskCursor | null,
): Promise<TaskCursor | null> {
  const rule = input.tasks[number];
  const sum = position.tasks[number];
  if (!rule || !sum) return null;
  const { status, type } = rule;
  const query = { status, type, beforeMs: beforeMs(rule, position), after, limit: PIECE };
  const { ids, next } = await findEndedTasks(env, shard, query);
  sum.count += ids.length;
  position.chosen?.taskIds.push(...ids);
  return next;
}

/** Removes the chosen piece. Done again, it does nothing more. */
async function remove(env: Env, input: Input, places: Place[], position: Position): Promise<void> {
  const { chosen } = position;
  const place = chosen && places[chosen.place];
  position.chosen = null;
  if (!place || input.dry_run) return;
  if (place.kind === "files") return removeOldFiles(env, place.catalogue, chosen.files);
  const rule = input.tasks[place.rule];
  if (rule) await removeEndedTasks(env, place.shard, chosen.taskIds, beforeMs(rule, position));
}

const sumOf = (sums: { count: number }[]) => sums.reduce((total, { count }) => total + count, 0);

const describe = ({ files, tasks }: Position) => `${sumOf(files)} files and ${sumOf(tasks)} tasks`;

/** Each rule, with what was removed (in a dry run, would be) by it. */
function resultOf(input: Input, position: Position) {
  return {
    dryRun: input.dry_run,
    files: input.files.map((rule, i) => ({ ...rule, count: 0, bytes: 0, ...position.files[i] })),
    tasks: input.tasks.map((rule, i) => ({ ...rule, count: 0, ...position.tasks[i] })),
  };
}
