/**
 * Idempotency keys: which tasks a request has created, so that the same request, sent again, creates no others
 * (draft-ietf-httpapi-idempotency-key-header-07).
 *
 * The ids of the tasks are chosen and stored before the tasks are created. The request that holds the key's lease is
 * creating them. If it dies, the next request with the key creates the same tasks; those that already exist stay as
 * they are.
 */
import type { KeyRow } from "./schema.ts";

/** How long a key is remembered. */
export const KEY_TTL_MS = 24 * 3_600_000;
/** How long a request may take to create its tasks before another request may continue in its place. */
const KEY_LEASE_MS = 15_000;

export type Reservation =
  /** Create the tasks with these ids, then `settle` the key. */
  | { is: "reserved"; taskIds: string[] }
  | { is: "created"; taskIds: string[] }
  | { is: "in-progress" }
  | { is: "used-by-another-request" };

export class IdempotencyKeys {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** `fingerprint` tells one payload from another. A new key takes `taskIds`. */
  reserve(key: string, fingerprint: string, taskIds: string[], nowMs: number): Reservation {
    const found = this.#sql.exec<KeyRow>("SELECT * FROM key WHERE key = ?", key).toArray()[0];
    const row = found && found.expires_at_ms > nowMs ? found : undefined;
    if (row && row.fingerprint !== fingerprint) return { is: "used-by-another-request" };
    const ids = row ? parseIds(row.task_ids) : taskIds;
    if (row && row.lease_ends_at_ms === null) return { is: "created", taskIds: ids };
    const isOwn = row?.task_ids === JSON.stringify(taskIds); // the same call again, because its reply was lost
    if (row?.lease_ends_at_ms && row.lease_ends_at_ms > nowMs && !isOwn) return { is: "in-progress" };
    // Two per call: expired keys are removed at least as fast as keys can have been added.
    this.removeExpired(nowMs, 2);
    this.#sql.exec(
      "INSERT OR REPLACE INTO key (key, fingerprint, task_ids, lease_ends_at_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?)",
      key,
      fingerprint,
      JSON.stringify(ids),
      nowMs + KEY_LEASE_MS,
      nowMs + KEY_TTL_MS,
    );
    return { is: "reserved", taskIds: ids };
  }

  /** Records that the tasks exist. `taskIds`: they are other tasks than those that the key was reserved for. */
  settle(key: string, taskIds?: readonly string[]): void {
    const ids = taskIds === undefined ? null : JSON.stringify(taskIds);
    const query = "UPDATE key SET lease_ends_at_ms = NULL, task_ids = coalesce(?, task_ids) WHERE key = ?";
    this.#sql.exec(query, ids, key);
  }

  /** Records that the tasks could not be created: the next request may try at once. */
  release(key: string): void {
    this.#sql.exec("UPDATE key SET lease_ends_at_ms = 0 WHERE key = ? AND lease_ends_at_ms IS NOT NULL", key);
  }

  removeExpired(nowMs: number, max: number): void {
    const expired = "SELECT key FROM key WHERE expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ?";
    this.#sql.exec(`DELETE FROM key WHERE key IN (${expired})`, nowMs, max);
  }
}

function parseIds(text: string): string[] {
  const ids: unknown = JSON.parse(text);
  return Array.isArray(ids) ? ids.map(String) : [];
}
