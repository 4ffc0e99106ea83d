/**
 * Blobs in R2 that belong to no file: reserved for one that is being written, or left over. Each has a time from which on
 * the alarm of the catalogue removes it.
 */

export class StrayBlobs {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Returns the id of the multipart upload that writes the blob, also if an earlier call recorded it. */
  reserve(blob: string, uploadId: string | null, dueAtMs: number): string | null {
    // A duplicate of this call may arrive after the commit: it must not cause the file to be collected.
    const [row] = this.#sql
      .exec<{ upload_id: string | null }>(
        `INSERT INTO stray (blob, upload_id, due_at_ms)
         SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM file WHERE blob = ?1)
         ON CONFLICT (blob) DO UPDATE SET
           upload_id = COALESCE(excluded.upload_id, upload_id), due_at_ms = excluded.due_at_ms
         RETURNING upload_id`,
        blob,
        uploadId,
        dueAtMs,
      )
      .toArray();
    return row?.upload_id ?? null;
  }

  has(blob: string): boolean {
    return this.#sql.exec("SELECT 1 FROM stray WHERE blob = ?", blob).toArray().length > 0;
  }

  /** How many there are, at most `max`, and how many of them are due. */
  count(nowMs: number, max: number): { reserved: number; due: number } {
    const query =
      "SELECT count(*) AS found, coalesce(sum(due_at_ms <= ?), 0) AS due FROM (SELECT due_at_ms FROM stray LIMIT ?)";
    const { found, due } = this.#sql.exec<{ found: number; due: number }>(query, nowMs, max).one();
    return { reserved: found - due, due };
  }

  /** A reservation that is due does not count: the blob may already be on its way out of R2. */
  isReserved(blob: string, nowMs: number): boolean {
    const found = this.#sql.exec("SELECT 1 FROM stray WHERE blob = ? AND due_at_ms > ?", blob, nowMs);
    return found.toArray().length > 0;
  }

  /** A blob that belonged to a file until now. */
  add(blob: string, dueAtMs: number): void {
    this.#sql.exec("INSERT OR REPLACE INTO stray (blob, due_at_ms) VALUES (?, ?)", blob, dueAtMs);
  }

  /** A reserved blob stays until then, and goes on to hold its bytes of the quotas. */
  postpone(blob: string, dueAtMs: number): void {
    this.#sql.exec("UPDATE stray SET due_at_ms = ? WHERE blob = ?", dueAtMs, blob);
  }

  /** Makes a blob that was reserved, and not committed, due. Returns whether it was not before. */
  discard(blob: string, nowMs: number): boolean {
    const query = "UPDATE stray SET due_at_ms = ?1 WHERE blob = ?2 AND due_at_ms > ?1";
    return this.#sql.exec(query, nowMs, blob).rowsWritten > 0;
  }

  /** It belongs to a file from now on, or is gone. */
  delete(blob: string): void {
    this.#sql.exec("DELETE FROM stray WHERE blob = ?", blob);
  }

  /** At most `limit` of those that are due, with the multipart uploads that may still write them. */
  due(nowMs: number, limit: number): { blob: string; upload_id: string | null }[] {
    return this.#sql
      .exec<{ blob: string; upload_id: string | null }>(
        "SELECT blob, upload_id FROM stray WHERE due_at_ms <= ? LIMIT ?",
        nowMs,
        limit,
      )
      .toArray();
  }
}
