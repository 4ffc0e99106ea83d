/**
 * The audit log: one Durable Object, with a row for each change. Rows are written once, read newest first, and removed
 * after 30 days.
 *
 * A line may arrive twice, since whoever sends it tries again when it hears nothing. Its key makes it one.
 */
import { DurableObject } from "cloudflare:workers";
import { markRepeatable } from "../kernel/objects.ts";
import { firstKeyAt, type Line, timeOf } from "./line.ts";

export const RETENTION_DAYS = 30;
const RETENTION_MS = RETENTION_DAYS * 86_400_000;
/** So many rows are removed in one turn, and looked at for one page. */
const REMOVED_AT_ONCE = 2_000;
const LOOKED_AT = 20_000;
/** Rows that are soon due are removed together. */
const REMOVE_EVERY_MS = 6 * 3_600_000;

export interface LineFilter {
  token?: string | undefined;
  method?: string | undefined;
  route?: string | undefined;
  id?: string | undefined;
  status?: number | undefined;
  /** In ms since the epoch: not before the one, and before the other. */
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
}

export interface Found {
  lines: Line[];
  /** Where the next page begins; null if there is none. A page may be short, and not the last. */
  next: string | null;
}

/** The object "audit". */
export class AuditLog extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  #hasAlarm = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS line (
        key        TEXT PRIMARY KEY,
        token      TEXT NOT NULL,
        method     TEXT NOT NULL,
        route      TEXT NOT NULL,
        id         TEXT,
        status     INTEGER NOT NULL,
        problem    TEXT,
        request_id TEXT NOT NULL
      ) WITHOUT ROWID`);
  }

  async append(lines: readonly Line[]): Promise<void> {
    for (const { key, token, method, route, id, status, problem, requestId } of lines)
      this.#sql.exec(
        "INSERT OR IGNORE INTO line VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        key,
        token,
        method,
        route,
        id,
        status,
        problem,
        requestId,
      );
    if (this.#hasAlarm) return;
    if ((await this.ctx.storage.getAlarm()) === null) await this.#setAlarm(Date.now());
    this.#hasAlarm = true;
  }

  /** At most `limit` lines before `before`, the newest first. */
  find(filter: LineFilter, before: string | undefined, limit: number): Found {
    const { sinceMs = 0, untilMs = Number.MAX_SAFE_INTEGER } = filter;
    const until = firstKeyAt(Math.min(untilMs, MAX_TIME_MS));
    const upper = before !== undefined && before < until ? before : until;
    const range = [firstKeyAt(sinceMs), upper] as const;
    const wanted = (["token", "method", "route", "id", "status"] as const).flatMap((column) => {
      const value = filter[column];
      return value === undefined ? [] : [{ column, value }];
    });
    const looked = "SELECT * FROM line WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?";
    const where = ["TRUE", ...wanted.map(({ column }) => `${column} = ?`)].join(" AND ");
    const lines = this.#sql
      .exec<Row>(
        `SELECT * FROM (${looked}) WHERE ${where} ORDER BY key DESC LIMIT ?`,
        ...range,
        LOOKED_AT,
        ...wanted.map(({ value }) => value),
        limit,
      )
      .toArray()
      .map(({ request_id, ...line }): Line => ({ ...line, requestId: request_id }));
    if (lines.length === limit) return { lines, next: lines.at(-1)?.key ?? null };
    return { lines, next: this.#keyAfter(LOOKED_AT, ...range) };
  }

  override async alarm(): Promise<void> {
    this.#hasAlarm = false;
    const nowMs = Date.now();
    const remove = "DELETE FROM line WHERE key IN (SELECT key FROM line WHERE key < ? ORDER BY key LIMIT ?)";
    const { rowsWritten } = this.#sql.exec(remove, firstKeyAt(nowMs - RETENTION_MS), REMOVED_AT_ONCE);
    if (rowsWritten >= REMOVED_AT_ONCE) await this.ctx.storage.setAlarm(nowMs);
    else await this.#setAlarm(nowMs);
  }

  /** For when the oldest line will be due; with no line, not at all. */
  async #setAlarm(nowMs: number): Promise<void> {
    const [oldest] = this.#sql.exec<{ key: string }>("SELECT key FROM line ORDER BY key LIMIT 1").toArray();
    if (!oldest) return;
    await this.ctx.storage.setAlarm(Math.max(timeOf(oldest.key) + RETENTION_MS, nowMs + REMOVE_EVERY_MS));
    this.#hasAlarm = true;
  }

  /** The last of so many keys of a range, if there are so many. */
  #keyAfter(count: number, from: string, to: string): string | null {
    const query = "SELECT key FROM line WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT 1 OFFSET ?";
    return this.#sql.exec<{ key: string }>(query, from, to, count - 1).toArray()[0]?.key ?? null;
  }
}

markRepeatable(AuditLog, "append", "find");

type Row = Omit<Line, "requestId"> & { request_id: string } & Record<string, SqlStorageValue>;

/** The latest time that a key can have. */
const MAX_TIME_MS = 2 ** 48 - 1;
