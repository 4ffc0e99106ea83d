/**
 * How much of an upload grant is used: the rules, and the one row for each grant that has ever been used.
 *
 * A grant carries its terms itself, signed. Only the count needs a place: the shard of the catalogue to which the files of
 * the grant belong. So a file is counted in the transaction that makes it visible, and the count is exact whoever comes at
 * once and whatever crashes. A resumable upload holds a place from its creation on, and gives it back when it ends
 * without a file. A file that is removed later stays counted.
 */

/** What the catalogue must know of a grant to count. */
export interface GrantRef {
  id: string;
  /** How many files it allows. */
  files: number;
  expiresAtMs: number;
}

export interface GrantUse {
  stored: number;
  /** The blobs of resumable uploads under way. */
  held: string[];
  isRevoked: boolean;
}

export type GrantRefusal = "revoked" | "used-up";

export const UNUSED: GrantUse = { stored: 0, held: [], isRevoked: false };

/** An upload that begins holds a place. It may ask twice. */
export function hold(use: GrantUse, files: number, blob: string): GrantUse | GrantRefusal {
  if (use.isRevoked) return "revoked";
  if (use.held.includes(blob)) return use;
  if (use.stored + use.held.length >= files) return "used-up";
  return { ...use, held: [...use.held, blob] };
}

/** Files become visible, all or none; those that hold a place use it. */
export function store(use: GrantUse, files: number, blobs: readonly string[]): GrantUse | GrantRefusal {
  if (use.isRevoked) return "revoked";
  const held = use.held.filter((blob) => !blobs.includes(blob));
  const stored = use.stored + blobs.length;
  return stored + held.length > files ? "used-up" : { ...use, stored, held };
}

/** An upload has ended without a file. */
export const release = (use: GrantUse, blob: string): GrantUse => ({
  ...use,
  held: use.held.filter((other) => other !== blob),
});

/** After a grant has expired, its uploads may still be under way for six days. */
const KEPT_AFTER_EXPIRY_MS = 7 * 86_400_000;

export const CREATE_GRANTS = `
  CREATE TABLE IF NOT EXISTS upload_grant (
    id           TEXT PRIMARY KEY,
    stored       INTEGER NOT NULL,
    held         TEXT NOT NULL,
    is_revoked   INTEGER NOT NULL,
    forget_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS upload_grant_forgotten ON upload_grant (forget_at_ms);
`;

type GrantRow = { stored: number; held: string; is_revoked: number };

/** The table of the catalogue that has the counts. */
export class GrantUses {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  read(id: string): GrantUse {
    const [row] = this.#sql
      .exec<GrantRow>("SELECT stored, held, is_revoked FROM upload_grant WHERE id = ?", id)
      .toArray();
    if (!row) return UNUSED;
    return { stored: row.stored, held: JSON.parse(row.held), isRevoked: row.is_revoked === 1 };
  }

  /** Applies a rule and records what it leads to; returns why it refuses, if it does. */
  change(
    grant: GrantRef,
    rule: (use: GrantUse) => GrantUse | GrantRefusal,
    nowMs: number,
  ): GrantRefusal | undefined {
    const before = this.read(grant.id);
    const after = rule(before);
    if (typeof after === "string") return after;
    if (JSON.stringify(after) === JSON.stringify(before)) return undefined;
    this.#sql.exec("DELETE FROM upload_grant WHERE forget_at_ms <= ?", nowMs);
    this.#sql.exec(
      `INSERT INTO upload_grant (id, stored, held, is_revoked, forget_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
       ON CONFLICT (id) DO UPDATE SET stored = ?2, held = ?3, is_revoked = ?4`,
      grant.id,
      after.stored,
      JSON.stringify(after.held),
      after.isRevoked ? 1 : 0,
      grant.expiresAtMs + KEPT_AFTER_EXPIRY_MS,
    );
    return undefined;
  }
}
