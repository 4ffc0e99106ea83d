/**
 * Idempotency keys: which tasks a request has made, so that the same request, sent again, makes no others
 * (draft-ietf-httpapi-idempotency-key-header-07).
 *
 * The ids of the tasks are chosen and kept before the tasks are made. Whoever holds the key's lease is making them;
 * if it dies, the next request with the key makes those same tasks, and what is there already stays as it is.
 */
import type { KeyRow } from "./schema.ts";

/** How long a key is remembered. */
export const KEY_LIFE_MS = 24 * 3_600_000;
/** How long making the tasks of a request may take, before another may go on with it. */
const MAKING_MS = 15_000;

export type Reservation =
  /** Make the tasks with these ids, and `settle` the key. */
  | { is: "yours"; taskIds: string[] }
  | { is: "made"; taskIds: string[] }
  | { is: "being-made" }
  | { is: "of-another-request" };

export class IdempotencyKeys {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** `fingerprint` tells one payload from another; `taskIds` are taken if the key is new. */
  reserve(key: string, fingerprint: string, taskIds: string[], nowMs: number): Reservation {
    const found = this.#sql.exec<KeyRow>("SELECT * FROM key WHERE key = ?", key).toArray()[0];
    const row = found && found.expires_at_ms > nowMs ? found : undefined;
    if (row && row.fingerprint !== fingerprint) return { is: "of-another-request" };
    const ids = row ? parseIds(row.task_ids) : taskIds;
    if (row && row.lease_ends_at_ms === null) return { is: "made", taskIds: ids };
    const isOwn = row?.task_ids === JSON.stringify(taskIds); // asked again, since the answer was lost
    if (row?.lease_ends_at_ms && row.lease_ends_at_ms > nowMs && !isOwn) return { is: "being-made" };
    // Two for each that comes: what has expired is gone as fast as it can have come.
    this.removeExpired(nowMs, 2);
    this.#sql.exec(
      "INSERT OR REPLACE INTO key (key, fingerprint, task_ids, lease_ends_at_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?)",
      key,
      fingerprint,
      JSON.stringify(ids),
      nowMs + MAKING_MS,
      nowMs + KEY_LIFE_MS,
    );
    return { is: "yours", taskIds: ids };
  }

  /** The tasks are there. */
  settle(key: string): void {
    this.#sql.exec("UPDATE key SET lease_ends_at_ms = NULL WHERE key = ?", key);
  }

  /** The tasks could not be made: the next request may try at once. */
  release(key: string): void {
    this.#sql.exec("UPDATE key SET lease_ends_at_ms = 0 WHERE key = ? AND lease_ends_at_ms IS NOT NULL", key);
  }

  removeExpired(nowMs: number, most: number): void {
    const expired = "SELECT key FROM key WHERE expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?";
    this.#sql.exec(`DELETE FROM key WHERE key IN (${expired})`, nowMs, most);
  }
}

function parseIds(text: string): string[] {
  const ids: unknown = JSON.parse(text);
  return Array.isArray(ids) ? ids.map(String) : [];
}
