/** `GET /schedules`: page by page, in order of creation. */
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { callLedger, schedulerOf } from "../ledger/shards.ts";
import { SCHEDULE_ID } from "./registry.ts";
import type { After } from "./schedule-table.ts";
import type { CountedRow } from "./schema.ts";

const FIRST: After = { createdAtMs: -1, id: "" };

/**
 * The cursor names the last schedule of its page, so one that exists throughout is on exactly one page. Throws a `Problem` 422
 * for a cursor that no page has returned.
 */
export async function listSchedules(
  env: Env,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<{ rows: CountedRow[]; next: string | null }> {
  const after = cursor === undefined ? FIRST : readCursor(cursor);
  const rows = await callLedger(async () => schedulerOf(env).listPage(after, limit + 1));
  const last = rows[limit - 1];
  const next = rows.length > limit && last ? writeCursor(last.created_at_ms, last.id) : null;
  return { rows: rows.slice(0, limit), next };
}

/** The first member tells it from the cursors of other lists. */
const cursorSchema = z.tuple([z.literal("schedules"), z.int().min(0), z.string().regex(SCHEDULE_ID)]);

const writeCursor = (createdAtMs: number, id: string) =>
  Buffer.from(JSON.stringify(["schedules", createdAtMs, id])).toString("base64url");

function readCursor(cursor: string): After {
  const { data } = cursorSchema.safeParse(parseJson(Buffer.from(cursor, "base64url").toString()));
  // Decoding base64 ignores what does not belong there.
  const [, createdAtMs, id] = data ?? [];
  if (createdAtMs !== undefined && id !== undefined && writeCursor(createdAtMs, id) === cursor)
    return { createdAtMs, id };
  const detail =
    "This is not a cursor from a page of schedules: use the `next` of the previous page as it is.";
  throw new Problem("invalid", detail, { errors: [{ at: "query/cursor", detail }] });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
