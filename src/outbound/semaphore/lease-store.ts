/** The leases in SQLite: a grant is there before it is returned, so a restarted object knows who may be calling. */
import type { Lease } from "./permit-types.ts";
import type { LeaseRow } from "./schema.ts";

export class LeaseStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** All leases, the oldest first. `probe`: the one that is the breaker's probe. */
  read(probe: string | null | undefined): Lease[] {
    const rows = this.#sql.exec<LeaseRow>("SELECT * FROM lease ORDER BY fence").toArray();
    return rows.map((row) => ({
      id: row.id,
      fence: row.fence,
      holder: row.holder,
      isProbe: row.id === probe,
      grantedAtMs: row.granted_at_ms,
      endsAtMs: row.ends_at_ms,
      handOvers: row.hand_overs,
      ...(row.limit_key !== null && { key: row.limit_key }),
      ...(row.weight > 1 && { weight: row.weight }),
    }));
  }

  /** The highest fence that there has been. */
  get lastFence(): number {
    const [last] = this.#sql
      .exec<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'lease'")
      .toArray();
    return last?.seq ?? 0;
  }

  insert({ id, fence, holder, grantedAtMs, endsAtMs, handOvers, key, weight }: Lease): void {
    this.#sql.exec(
      "INSERT INTO lease (fence, id, holder, granted_at_ms, ends_at_ms, hand_overs, limit_key, weight) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      fence,
      id,
      holder,
      grantedAtMs,
      endsAtMs,
      handOvers,
      key ?? null,
      weight ?? 1,
    );
  }

  extend({ fence, endsAtMs }: Lease): void {
    this.#sql.exec("UPDATE lease SET ends_at_ms = ? WHERE fence = ?", endsAtMs, fence);
  }

  delete({ fence }: Lease): void {
    this.#sql.exec("DELETE FROM lease WHERE fence = ?", fence);
  }
}
