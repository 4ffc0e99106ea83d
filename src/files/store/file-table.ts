/**
 * The table of the catalogue that has the files: a row for each, with the version that is seen. It knows nothing of what
 * depends on a change of them (catalogue.ts).
 */
import type { FileRow } from "./schema.ts";

/** A version, and when it ends or ended. */
export type FileVersion = Pick<FileRow, "id" | "blob" | "dated_at_ms" | "expires_at_ms">;

/** Sizes are in bytes. */
export interface FileTotals {
  kept: { count: number; bytes: number };
  /** In each hour, numbered from 0; `is_made`: 1 for files that tasks have made. */
  stored: { hour: number; is_made: number; count: number; bytes: number }[];
}

/** Which files: those whose ids begin with `prefix` and come after `after`, at most `limit`. With an owner, only that one's. */
export interface FilePage {
  prefix: string;
  after: string;
  limit: number;
  owner: string | null;
}

/** Of a page, and not expired at ?4. "{" sorts after every character that an id may have. */
const ON_PAGE = `id > ?1 AND id >= ?2 AND id < ?2 || '{' AND (expires_at_ms IS NULL OR expires_at_ms > ?4)
  AND (?5 IS NULL OR owner = ?5)`;

export class FileTable {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Undefined also if it has expired. */
  find(id: string, nowMs: number): FileRow | undefined {
    const query = "SELECT * FROM file WHERE id = ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)";
    return this.#sql.exec<FileRow>(query, id, nowMs).toArray()[0];
  }

  /** Also one that has expired and is not collected yet. */
  version(id: string): FileVersion | undefined {
    const query = "SELECT id, blob, dated_at_ms, expires_at_ms FROM file WHERE id = ?";
    return this.#sql.exec<FileVersion>(query, id).toArray()[0];
  }

  /** A page, in the order of the ids. With an owner, the rows in between are read too. */
  list({ after, prefix, limit, owner }: FilePage, nowMs: number): FileRow[] {
    const query = `SELECT * FROM file WHERE ${ON_PAGE} ORDER BY id LIMIT ?3`;
    return this.#sql.exec<FileRow>(query, after, prefix, limit, nowMs, owner).toArray();
  }

  /** As `list`, of the files that were made from the file `source`. */
  listMadeFrom(source: string, { after, prefix, limit, owner }: FilePage, nowMs: number): FileRow[] {
    const query = `SELECT * FROM file WHERE source = ?6 AND ${ON_PAGE} ORDER BY id LIMIT ?3`;
    return this.#sql.exec<FileRow>(query, after, prefix, limit, nowMs, owner, source).toArray();
  }

  /** All files, and those that were stored in each hour from one time to another. Looks at every row. */
  totals(fromMs: number, untilMs: number, nowMs: number): FileTotals {
    const kept = this.#sql.exec<FileTotals["kept"]>(
      `SELECT count(*) AS count, coalesce(sum(size), 0) AS bytes FROM file
         WHERE expires_at_ms IS NULL OR expires_at_ms > ?`,
      nowMs,
    );
    const stored = this.#sql.exec<FileTotals["stored"][number]>(
      `SELECT CAST((modified_at_ms - ?1) / 3600000 AS INTEGER) AS hour, source_task IS NOT NULL AS is_made, count(*) AS count,
         sum(size) AS bytes
       FROM file WHERE modified_at_ms >= ?1 AND modified_at_ms < ?2 GROUP BY hour, is_made`,
      fromMs,
      untilMs,
    );
    return { kept: kept.one(), stored: stored.toArray() };
  }

  /** At most `limit` of those that have expired. */
  expired(nowMs: number, limit: number): FileVersion[] {
    const query = "SELECT id, blob, dated_at_ms, expires_at_ms FROM file WHERE expires_at_ms <= ? LIMIT ?";
    return this.#sql.exec<FileVersion>(query, nowMs, limit).toArray();
  }

  /** Adds a file, or replaces the one with its id. */
  put(row: FileRow): void {
    this.#sql.exec(
      `INSERT OR REPLACE INTO file
       (id, blob, filename, content_type, size, sha256, expires_at_ms, modified_at_ms, dated_at_ms, is_replacement,
        source, source_task, owner, metadata)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.id,
      row.blob,
      row.filename,
      row.content_type,
      row.size,
      row.sha256,
      row.expires_at_ms,
      row.modified_at_ms,
      row.dated_at_ms,
      row.is_replacement,
      row.source,
      row.source_task,
      row.owner,
      row.metadata,
    );
  }

  delete(id: string): void {
    this.#sql.exec("DELETE FROM file WHERE id = ?", id);
  }
}
