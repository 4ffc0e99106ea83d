/**
 * The upload sessions that write reserved blobs, so that none is forgotten.
 *
 * A session lives by its alarm, which the runtime abandons if it fails for two minutes, for instance because the Worker
 * does not start. Nobody else knows the session: then its upload would never be completed, or never be removed. So the
 * catalogue that has reserved its blob knows it too, and when the watchdog tends the catalogue, this asks sessions whose
 * time should be over. One that ends says so, and is forgotten.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject, lacksMethod, objectNamed } from "../../kernel/objects.ts";

/** There is no index: it would cost rows with each upload, and a scan every few minutes costs less. */
export const CREATE_SESSIONS = `
  CREATE TABLE IF NOT EXISTS session (
    blob       TEXT PRIMARY KEY,
    id         TEXT NOT NULL,
    tend_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** How long after its alarm was due a session is asked. */
export const TEND_AFTER_MS = 60 * 60_000;
const RETRY_MS = 10 * 60_000;
/** How many are asked in one go, and how many of them at a time. */
const MAX_TENDED = 50;
const PARALLEL_CALLS = 5;

type SessionRow = { blob: string; id: string };

export class TendedSessions {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** The session `id` writes the blob, and is asked then; if it is known already, when it was to be. */
  add(blob: string, id: string, tendAtMs: number): void {
    this.#sql.exec(
      "INSERT OR IGNORE INTO session (blob, id, tend_at_ms) VALUES (?, ?, ?)",
      blob,
      id,
      tendAtMs,
    );
  }

  #postpone(blob: string, tendAtMs: number): void {
    this.#sql.exec("UPDATE session SET tend_at_ms = ? WHERE blob = ?", tendAtMs, blob);
  }

  /** The session has ended. */
  delete(blob: string): void {
    this.#sql.exec("DELETE FROM session WHERE blob = ?", blob);
  }

  /** Asks some of the sessions whose time has come, those that are latest first. Never rejects. */
  async tend(env: Env): Promise<void> {
    const due = this.#sql
      .exec<SessionRow>(
        "SELECT blob, id FROM session WHERE tend_at_ms <= ? ORDER BY tend_at_ms LIMIT ?",
        Date.now(),
        MAX_TENDED,
      )
      .toArray();
    for (let i = 0; i < due.length; i += PARALLEL_CALLS)
      await Promise.all(due.slice(i, i + PARALLEL_CALLS).map(async (row) => this.#tend(env, row)));
  }

  async #tend(env: Env, { blob, id }: SessionRow): Promise<void> {
    try {
      const tend = async () => objectNamed(env, "UPLOAD_SESSION", id).tend();
      const { wasOverdue, nextAtMs } = await callObject(tend, { mayRepeat: false });
      if (wasOverdue) log("warn", "overdue; its alarm was run", { what: `upload ${id}` });
      if (nextAtMs === null) this.delete(blob);
      else this.#postpone(blob, nextAtMs + TEND_AFTER_MS);
    } catch (error) {
      // After this the others have their turn. The object may still run the code of the version before.
      this.#postpone(blob, Date.now() + (lacksMethod(error) ? TEND_AFTER_MS : RETRY_MS));
      if (!lacksMethod(error))
        log("error", "an upload could not be tended", { what: `upload ${id}`, ...errorFields(error) });
    }
  }
}
