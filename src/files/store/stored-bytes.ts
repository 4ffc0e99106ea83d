/**
 * How many bytes each owner has in one shard of the catalogue, for the quotas.
 *
 * Nothing is counted until somebody asks: then all files are added up, once, and from then on triggers keep the count, so that
 * it changes with the file in one transaction, whatever version of the code writes it. Each file that comes or goes costs one
 * row more. Uploads under way hold bytes in the row of their blob, until that becomes a file or is due for removal.
 */
import type { ByteUse } from "./byte-quota.ts";

/** For those that are held: how many, and for whom; the index has only such rows. */
export const HELD_COLUMNS = { owner: "TEXT", bytes: "INTEGER" };
export const CREATE_HELD_INDEX =
  "CREATE INDEX IF NOT EXISTS stray_held ON stray (owner, bytes, due_at_ms) WHERE bytes IS NOT NULL";

/** A file that nobody owns, because a task has made it, is counted under "". */
const BEGIN = `
  CREATE TABLE stored_bytes (owner TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO stored_bytes (owner, bytes)
    SELECT coalesce(owner, '') AS name, sum(size) FROM file GROUP BY name;

  -- REPLACE runs no trigger for the row that it replaces.
  CREATE TRIGGER stored_bytes_replaced BEFORE INSERT ON file BEGIN
    UPDATE stored_bytes SET bytes = bytes - (SELECT size FROM file WHERE id = NEW.id)
      WHERE owner = (SELECT coalesce(owner, '') FROM file WHERE id = NEW.id);
  END;
  CREATE TRIGGER stored_bytes_added AFTER INSERT ON file BEGIN
    INSERT INTO stored_bytes (owner, bytes) SELECT coalesce(NEW.owner, ''), 0
      WHERE NOT EXISTS (SELECT 1 FROM stored_bytes WHERE owner = coalesce(NEW.owner, ''));
    UPDATE stored_bytes SET bytes = bytes + NEW.size WHERE owner = coalesce(NEW.owner, '');
  END;
  CREATE TRIGGER stored_bytes_removed AFTER DELETE ON file BEGIN
    UPDATE stored_bytes SET bytes = bytes - OLD.size WHERE owner = coalesce(OLD.owner, '');
    DELETE FROM stored_bytes WHERE owner = coalesce(OLD.owner, '') AND bytes = 0;
  END;
`;
const END = `
  DROP TRIGGER stored_bytes_replaced;
  DROP TRIGGER stored_bytes_added;
  DROP TRIGGER stored_bytes_removed;
  DROP TABLE stored_bytes;
`;

export class StoredBytes {
  readonly #storage: DurableObjectStorage;
  #isCounting: boolean;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#isCounting =
      storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'stored_bytes'").toArray().length > 0;
  }

  /** Nobody has a quota any longer, so counting would be for nothing. */
  end(): void {
    if (!this.#isCounting) return;
    this.#storage.transactionSync(() => this.#storage.sql.exec(END));
    this.#isCounting = false;
  }

  /** From now on the blob, which is being written, counts for so many bytes. It may be told again, more or less. */
  hold(blob: string, owner: string | null, bytes: number, dueAtMs: number): void {
    // A duplicate of this call may arrive after the commit.
    this.#storage.sql.exec(
      `INSERT INTO stray (blob, due_at_ms, owner, bytes)
       SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM file WHERE blob = ?1)
       ON CONFLICT (blob) DO UPDATE SET owner = excluded.owner, bytes = excluded.bytes`,
      blob,
      dueAtMs,
      owner ?? "",
      bytes,
    );
  }

  use(owner: string | null, nowMs: number): ByteUse {
    if (!this.#isCounting) {
      this.#storage.transactionSync(() => this.#storage.sql.exec(BEGIN));
      this.#isCounting = true;
    }
    return this.#storage.sql
      .exec<{ own: number; all: number }>(
        `SELECT coalesce(sum(bytes) FILTER (WHERE owner = ?1), 0) AS own, coalesce(sum(bytes), 0) AS "all" FROM (
           SELECT owner, bytes FROM stored_bytes
           UNION ALL SELECT owner, bytes FROM stray WHERE bytes IS NOT NULL AND due_at_ms > ?2)`,
        owner ?? "",
        nowMs,
      )
      .one();
  }
}
