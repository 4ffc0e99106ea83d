import type { Override } from "../upstreams.ts";
import type { Memory } from "./protocol.ts";

/** What must outlive a restart beside the leases, as JSON in SQLite; written only when it has changed. */
export class SavedState {
  readonly #sql: SqlStorage;
  #memory: Memory | undefined;
  #override: Override;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    // What this class has written before, and nobody else.
    this.#memory = this.#read("memory");
    this.#override = this.#read("override") ?? {};
  }

  get memory(): Memory | undefined {
    return this.#memory;
  }

  set memory(memory: Memory) {
    const { pace, breaker, dueAtMs } = this.#memory ?? {};
    if (memory.pace === pace && memory.breaker === breaker && memory.dueAtMs === dueAtMs) return;
    this.#memory = memory;
    this.#write("memory", memory);
  }

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
    this.#sql.exec("INSERT OR REPLACE INTO note VALUES (?, ?)", name, JSON.stringify(value));
  }
}
