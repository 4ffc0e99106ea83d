/** `GET /tasks`: the tasks of all shards, newest first, page by page. */

import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { type Task, toTask } from "../ledger/schema.ts";
import { ask, ledgerOn } from "../ledger/shards.ts";
import { SHARDS, shardOf } from "../ledger/task-id.ts";
import { byAge, type Page } from "../ledger/task-table.ts";

interface Wanted extends Omit<Page, "before"> {
  /** Only older; ms since the epoch. */
  untilMs: number;
  /** `next` of the page before. */
  cursor: string | undefined;
}

/** What a list shows of a task: not what may be long. */
export type TaskLine = Omit<Task, "input" | "result">;

/**
 * The cursor names the last task of its page, so that pages neither repeat nor miss a task that was there all the
 * while, whatever else comes and goes. Throws a `Problem` 422 at one that this did not give out.
 */
export async function listTasks(env: Env, { untilMs, cursor, limit, ...wanted }: Wanted) {
  const before = cursor === undefined ? { createdAtMs: untilMs, id: "" } : readCursor(cursor);
  const page: Page = { ...wanted, before, limit: limit + 1 };
  const shards = await Promise.all(
    SHARDS.map(async (shard) => ask(async () => ledgerOn(env, shard).list(page))),
  );
  const rows = shards.flat().toSorted(byAge);
  const last = rows[limit - 1];
  const next = rows.length > limit && last ? writeCursor(last.created_at_ms, last.id) : null;
  return { tasks: rows.slice(0, limit).map(toTask).map(toLine), next };
}

function toLine({ input: _input, result: _result, ...line }: Task): TaskLine {
  return line;
}

const cursorSchema = z.tuple([z.int().min(0), z.string().refine((id) => shardOf(id) !== undefined)]);

const writeCursor = (createdAtMs: number, id: string) =>
  Buffer.from(JSON.stringify([createdAtMs, id])).toString("base64url");

function readCursor(cursor: string): Page["before"] {
  const text = Buffer.from(cursor, "base64url").toString();
  const parsed = cursorSchema.safeParse(parse(text));
  if (parsed.success) return { createdAtMs: parsed.data[0], id: parsed.data[1] };
  const detail = "This is no cursor that a page has given.";
  throw new Problem("invalid", detail, { errors: [{ at: "query/cursor", detail }] });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
