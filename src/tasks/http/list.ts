/** `GET /tasks`: the tasks of all shards, newest first, page by page. */

import { z } from "zod";
import { lacksMethod } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { toLine } from "../ledger/schema.ts";
import { callLedger, type Ledger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import { isIndexed, type TaskFilter } from "../ledger/task-filter.ts";
import { shardOf } from "../ledger/task-id.ts";
import { byAge, type Page, type StatusCount } from "../ledger/task-queries.ts";
import type { Found } from "../ledger/task-search.ts";
import { MAX_COUNTED_TAGS, type TagCount } from "../ledger/task-tags.ts";

/** How often the shards are asked for a page as long as nothing was found. */
const MAX_ROUNDS = 10;

/**
 * The cursor names a place in the list. So a task that exists throughout is on exactly one page, whatever other
 * tasks are added or removed meanwhile. A page may have fewer tasks than `limit`, also none, and not be the last: where no
 * index has the tasks of a filter, a call looks at a bounded number of them. Throws a `Problem` 422 for a cursor that no page
 * has returned. `types`: only of these; each is asked for by itself, so that an index finds them.
 */
export async function listTasks(
  env: Env,
  filter: TaskFilter,
  cursor: string | undefined,
  limit: number,
  types?: readonly string[],
) {
  const after = cursor === undefined ? undefined : readCursor(cursor);
  const filters = ofTypes(filter, types);
  const { untilMs } = filter.created;
  // Both hold: a page follows the last task of the previous one, and has none that is too new.
  let before = after && after.createdAtMs < untilMs ? after : { createdAtMs: untilMs, id: "" };
  const shards = filters.length > 0 ? await shardsInUse(env) : [];
  for (let round = 1; ; round++) {
    const from = before;
    const parts = await Promise.all(
      shards.flatMap((shard) =>
        filters.map(async (one) =>
          callLedger(async () => findOn(ledgerOn(env, shard), one, from, limit + 1)),
        ),
      ),
    );
    const { rows, until } = mergeParts(parts, limit);
    if (until === null || rows.length > 0 || round === MAX_ROUNDS)
      return { tasks: rows.map(toLine), next: until && writeCursor(until.createdAtMs, until.id) };
    before = until;
  }
}

function ofTypes(filter: TaskFilter, types: readonly string[] | undefined): TaskFilter[] {
  if (!types) return [filter];
  const { type: wanted } = filter;
  const within = [...new Set(types)].filter((type) => wanted === undefined || type === wanted);
  return within.map((type) => ({ ...filter, type }));
}

async function findOn(
  ledger: Ledger,
  filter: TaskFilter,
  before: Page["before"],
  limit: number,
): Promise<Found> {
  if (!isIndexed(filter)) return ledger.search({ filter, before, limit });
  const { statuses, type, created } = filter;
  const rows = await ledger.list({ statuses, type, fromMs: created.fromMs, before, limit });
  const last = rows.length === limit ? rows.at(-1) : undefined;
  return { rows, until: last ? { createdAtMs: last.created_at_ms, id: last.id } : null };
}

/** A place in the list, as a task that is there. */
const place = ({ createdAtMs, id }: Page["before"]) => ({ created_at_ms: createdAtMs, id });

/** What was found on all shards, as far as all of them have come; at most `limit`. */
export function mergeParts(parts: readonly Found[], limit: number): Found {
  const [newest] = parts
    .flatMap(({ until }) => (until ? [until] : []))
    .toSorted((a, b) => byAge(place(a), place(b)));
  const rows = parts
    .flatMap((part) => part.rows)
    .filter((row) => !newest || byAge(row, place(newest)) <= 0)
    .toSorted(byAge);
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  const until = last ? { createdAtMs: last.created_at_ms, id: last.id } : (newest ?? null);
  return { rows: rows.slice(0, limit), until };
}

const cursorSchema = z.tuple([z.int().min(0), z.string().refine((id) => shardOf(id) !== undefined)]);

const writeCursor = (createdAtMs: number, id: string) =>
  Buffer.from(JSON.stringify([createdAtMs, id])).toString("base64url");

function readCursor(cursor: string): Page["before"] {
  const text = Buffer.from(cursor, "base64url").toString();
  const { data } = cursorSchema.safeParse(parseJson(text));
  // Decoding base64 ignores what does not belong there.
  if (data && writeCursor(...data) === cursor) return { createdAtMs: data[0], id: data[1] };
  const detail = "This is not a cursor from a page of tasks: use the `next` of the previous page as it is.";
  throw new Problem("invalid", detail, { errors: [{ at: "query/cursor", detail }] });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

interface Counts {
  counts: StatusCount[];
  tags: TagCount[];
}

/** How many tasks there are of each type and status, and with each tag, over all shards. `tag`: only those that have it. */
export async function countTasks(env: Env, tag: string | undefined): Promise<Counts> {
  const shards = await Promise.all(
    (await shardsInUse(env)).map(async (shard) => callLedger(async () => countOn(ledgerOn(env, shard), tag))),
  );
  const counts = summed(
    shards.flatMap((shard) => shard.counts),
    ({ type, status }) => `${type} ${status}`,
  );
  const tags = summed(
    shards.flatMap((shard) => shard.tags),
    (one) => one.tag,
  ).toSorted((a, b) => (a.tag < b.tag ? -1 : 1));
  return { counts, tags: tags.slice(0, MAX_COUNTED_TAGS) };
}

async function countOn(ledger: Ledger, tag: string | undefined): Promise<Counts> {
  try {
    return await ledger.counts(tag ?? null);
  } catch (error) {
    // During a deploy, the ledger may still be of a version that has no tags.
    if (tag !== undefined || !lacksMethod(error)) throw error;
    return { counts: await ledger.countByStatus(), tags: [] };
  }
}

function summed<T extends { count: number }>(counts: readonly T[], keyOf: (one: T) => string): T[] {
  return [...Map.groupBy(counts, keyOf).values()].flatMap((same) => {
    const [first] = same;
    return first ? [{ ...first, count: same.reduce((sum, { count }) => sum + count, 0) }] : [];
  });
}
