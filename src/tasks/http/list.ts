/** `GET /tasks`: the tasks of all shards, newest first, page by page. */

import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { toLine } from "../ledger/schema.ts";
import { callLedger, ledgerOn, shardsInUse } from "../ledger/shards.ts";
import { shardOf } from "../ledger/task-id.ts";
import { byAge, type Page, type StatusCount } from "../ledger/task-queries.ts";

interface ListQuery extends Omit<Page, "before"> {
  /** Only tasks created before this; ms since the epoch. */
  untilMs: number;
  /** `next` of the previous page. */
  cursor: string | undefined;
}

/**
 * The cursor names the last task of its page. So a task that exists throughout is on exactly one page, whatever other
 * tasks are added or removed meanwhile. Throws a `Problem` 422 for a cursor that no page has returned.
 */
export async function listTasks(env: Env, { untilMs, cursor, limit, ...query }: ListQuery) {
  const after = cursor === undefined ? undefined : readCursor(cursor);
  // Both hold: a page follows the last task of the previous one, and has none that is too new.
  const before = after && after.createdAtMs < untilMs ? after : { createdAtMs: untilMs, id: "" };
  const page: Page = { ...query, before, limit: limit + 1 };
  const shards = await Promise.all(
    (await shardsInUse(env)).map(async (shard) => callLedger(async () => ledgerOn(env, shard).list(page))),
  );
  const rows = shards.flat().toSorted(byAge);
  const last = rows[limit - 1];
  const next = rows.length > limit && last ? writeCursor(last.created_at_ms, last.id) : null;
  return { tasks: rows.slice(0, limit).map(toLine), next };
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

/** How many tasks there are of each type and status, over all shards. */
export async function countTasksByStatus(env: Env): Promise<StatusCount[]> {
  const shards = await Promise.all(
    (await shardsInUse(env)).map(async (shard) =>
      callLedger(async () => ledgerOn(env, shard).countByStatus()),
    ),
  );
  const groups = Object.groupBy(shards.flat(), ({ type, status }) => `${type} ${status}`);
  return Object.values(groups).flatMap((counts = []) => {
    const [first] = counts;
    return first ? [{ ...first, count: counts.reduce((sum, { count }) => sum + count, 0) }] : [];
  });
}
