/**
 * Which ids have lost their file in this second, and the date of the version that they had: the next version of such an id
 * must not get the same date (version-date.ts). In earlier seconds nothing needs to be remembered.
 */
import { type PreviousVersion, wholeSeconds } from "./version-date.ts";

/** No column can be added: 0.1.0 inserts rows without naming its columns. */
export const CREATE_ENDED = `
  CREATE TABLE IF NOT EXISTS ended (
    id          TEXT PRIMARY KEY,
    dated_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

export class EndedVersions {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  add(id: string, { datedAtMs, endedAtMs }: PreviousVersion, nowMs: number): void {
    if (endedAtMs < wholeSeconds(nowMs)) return;
    this.#sql.exec(
      "INSERT OR REPLACE INTO ended (id, dated_at_ms, ended_at_ms) VALUES (?, ?, ?)",
      id,
      datedAtMs,
      endedAtMs,
    );
  }

  find(id: string): PreviousVersion | undefined {
    return this.#sql
      .exec<{ datedAtMs: number; endedAtMs: number }>(
        "SELECT dated_at_ms AS datedAtMs, ended_at_ms AS endedAtMs FROM ended WHERE id = ?",
        id,
      )
      .toArray()[0];
  }

  /** Forgets what was before this second. */
  clear(nowMs: number): void {
    this.#sql.exec("DELETE FROM ended WHERE ended_at_ms < ?", wholeSeconds(nowMs));
  }
}
