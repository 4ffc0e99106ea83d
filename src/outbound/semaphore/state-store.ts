import type { Override } from "../settings.ts";
import type { PermitsState } from "./permit-types.ts";

/** What must survive a restart besides the leases, as JSON in SQLite. A row is written only when it has changed. */
export class StateStore {
  readonly #sql: SqlStorage;
  #permits: PermitsState | undefined;
  #override: Override;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    // Only this class writes these rows, so they are not validated.
    this.#permits = this.#read("permits");
    this.#override = this.#read("override") ?? {};
  }

  /** The state of the rules. */
  get permits(): PermitsState | undefined {
    return this.#permits;
  }

  set permits(state: PermitsState) {
    const before = this.#permits;
    const isSame =
      state.throttle === before?.throttle &&
      state.breaker === before.breaker &&
      state.dueAtMs === before.dueAtMs &&
      state.retryBudget === before.retryBudget &&
      state.keysDueAtMs === before.keysDueAtMs;
    if (isSame) return;
    this.#permits = state;
    this.#write("permits", state);
  }

  /** What an operator has changed. */
  get override(): Override {
    return this.#override;
  }

  set override(override: Override) {
    this.#override = override;
    this.#write("override", override);
  }

  #read(name: string) {
    const [row] = this.#sql.exec<{ json: string }>("SELECT json FROM note WHERE name = ?", name).toArray();
    return row && JSON.parse(row.json);
  }

  #write(name: string, value: unknown): void {
    this.#sql.exec("INSERT OR REPLACE INTO note (name, json) VALUES (?, ?)", name, JSON.stringify(value));
  }
}
