/**
 * The catalogue: which files there are, and where in R2 their bytes lie, in SQLite, in a few Durable Objects.
 *
 * R2 alone would not do: it deletes without a condition, so that nobody could take an old version away, or an
 * expired one, and be sure not to hit the new one that has just come.
 *
 * The bytes of every version are an object of their own (its blob), written once and never changed. A blob is
 * reserved here before the first byte of it goes to R2, and from then on is in one of two places: with its file, or
 * among the strays, which an alarm removes when they are due. So whatever dies in between, nothing stays for ever,
 * and a file is visible only when it is whole:
 *
 *     reserve ──▶ stray ──commit──▶ file ──replaced, removed, expired──▶ stray, due now ──alarm──▶ gone
 *                   └──discarded, or never committed──▶ due ──alarm──▶ gone
 */
import { DurableObject } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { type Conditions, judge } from "./conditions.ts";
import { CREATE_TABLES, type FileRow, validators } from "./schema.ts";

/** A whole file, its bytes in R2. */
export type NewFile = Omit<FileRow, "modified_at_ms" | "is_replacement">;

export type Committed =
  | { is: "created" | "replaced"; rows: FileRow[] }
  | { is: "precondition-failed" }
  /** A blob is not reserved (any more): too late, or it was committed before and has been replaced since. */
  | { is: "unreserved" };

/** Rows that one step of the collection takes; R2 deletes so many objects in one call. */
const BATCH = 500;
/** After R2 has failed. */
const COLLECT_AGAIN_MS = 60_000;

export class FileCatalogue extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec(CREATE_TABLES);
  }

  find(id: string): FileRow | undefined {
    return this.#sql
      .exec<FileRow>(
        "SELECT * FROM file WHERE id = ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)",
        id,
        Date.now(),
      )
      .toArray()[0];
  }

  /** The next `limit` files after `after`, in the order of their ids, whose ids begin with `prefix`. */
  list(prefix: string, after: string, limit: number): FileRow[] {
    return this.#sql
      .exec<FileRow>(
        // "{" comes after every character that an id may have.
        `SELECT * FROM file WHERE id > ? AND id >= ? AND id < ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)
         ORDER BY id LIMIT ?`,
        after,
        prefix,
        `${prefix}{`,
        Date.now(),
        limit,
      )
      .toArray();
  }

  /**
   * Takes note of a blob that is to be written, and of the multipart upload that writes it. Gives the id of that one,
   * also if it was noted before.
   */
  async reserve(blob: string, uploadId: string | null, dueAtMs: number): Promise<string | null> {
    // A call that comes twice, the second time after the commit, must not have a file collected.
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
    await this.#setAlarm();
    return row?.upload_id ?? null;
  }

  /**
   * Makes files visible, all or none, if the conditions hold for what is there now. Repeating it is harmless. All
   * must be of this shard.
   */
  async commit(files: NewFile[], conditions: Conditions): Promise<Committed> {
    const outcome = this.ctx.storage.transactionSync(() => this.#commit(files, conditions, Date.now()));
    await this.#setAlarm();
    return outcome;
  }

  /** Takes a file away, if the conditions hold for what is there now. */
  async remove(id: string, conditions: Conditions): Promise<"removed" | "missing" | "precondition-failed"> {
    const outcome = this.ctx.storage.transactionSync(() => {
      const current = this.find(id);
      // Before the conditions (RFC 9110 §13.2.1): without them, too, this would be a 404.
      if (!current) return "missing";
      if (judge(conditions, validators(current), false) === "failed") return "precondition-failed";
      this.#sql.exec("DELETE FROM file WHERE id = ?", id);
      this.#makeStray(current.blob, Date.now());
      return "removed";
    });
    await this.#setAlarm();
    return outcome;
  }

  /** Gives up a blob that has been reserved and not committed. */
  async discard(blob: string): Promise<void> {
    this.#sql.exec("UPDATE stray SET due_at_ms = ? WHERE blob = ?", Date.now(), blob);
    await this.#setAlarm();
  }

  /** Removes what is due. Never throws: the runtime gives an alarm up that fails too often. */
  override async alarm(): Promise<void> {
    try {
      await this.#collect(Date.now());
      await this.#setAlarm();
    } catch (error) {
      log("error", "files could not be collected; next try in a minute", errorFields(error));
      await this.ctx.storage.setAlarm(Date.now() + COLLECT_AGAIN_MS);
    }
  }

  #commit(files: NewFile[], conditions: Conditions, nowMs: number): Committed {
    const before = files.map(({ id }) => this.find(id));
    if (files.every(({ blob }, i) => before[i]?.blob === blob)) {
      const rows = before.filter((row) => row !== undefined);
      return { is: rows.some((row) => row.is_replacement === 1) ? "replaced" : "created", rows };
    }
    if (!files.every(({ blob }) => this.#isReserved(blob, nowMs))) return { is: "unreserved" };
    if (before.some((row) => judge(conditions, row && validators(row), false) === "failed")) {
      return { is: "precondition-failed" };
    }
    const rows = files.map((file) => this.#put(file, nowMs));
    return { is: before.some((row) => row) ? "replaced" : "created", rows };
  }

  /** One that is due may be on its way out of R2 already. */
  #isReserved(blob: string, nowMs: number): boolean {
    const found = this.#sql.exec("SELECT 1 FROM stray WHERE blob = ? AND due_at_ms > ?", blob, nowMs);
    return found.toArray().length > 0;
  }

  #put(file: NewFile, nowMs: number): FileRow {
    this.#sql.exec("DELETE FROM stray WHERE blob = ?", file.blob);
    // Also one that has expired and is not collected yet.
    const [before] = this.#sql
      .exec<Pick<FileRow, "blob" | "modified_at_ms" | "expires_at_ms">>(
        "SELECT blob, modified_at_ms, expires_at_ms FROM file WHERE id = ?",
        file.id,
      )
      .toArray();
    if (before) this.#makeStray(before.blob, nowMs);
    const row: FileRow = {
      ...file,
      // No two versions within one second: then the date alone tells them apart (RFC 9110 §8.8.2.2).
      modified_at_ms: Math.max(nowMs, before ? before.modified_at_ms + 1000 : 0),
      is_replacement: before && (before.expires_at_ms ?? Number.POSITIVE_INFINITY) > nowMs ? 1 : 0,
    };
    this.#sql.exec(
      `INSERT OR REPLACE INTO file
       (id, blob, filename, content_type, size, sha256, expires_at_ms, modified_at_ms, is_replacement)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.id,
      row.blob,
      row.filename,
      row.content_type,
      row.size,
      row.sha256,
      row.expires_at_ms,
      row.modified_at_ms,
      row.is_replacement,
    );
    return row;
  }

  #makeStray(blob: string, dueAtMs: number): void {
    this.#sql.exec("INSERT OR REPLACE INTO stray (blob, due_at_ms) VALUES (?, ?)", blob, dueAtMs);
  }

  async #collect(nowMs: number): Promise<void> {
    for (;;) {
      const due = this.ctx.storage.transactionSync(() => {
        const expired = this.#sql
          .exec<Pick<FileRow, "id" | "blob">>(
            "SELECT id, blob FROM file WHERE expires_at_ms <= ? LIMIT ?",
            nowMs,
            BATCH,
          )
          .toArray();
        for (const { id, blob } of expired) {
          this.#sql.exec("DELETE FROM file WHERE id = ?", id);
          this.#makeStray(blob, nowMs);
        }
        return this.#sql
          .exec<{ blob: string; upload_id: string | null }>(
            "SELECT blob, upload_id FROM stray WHERE due_at_ms <= ? LIMIT ?",
            nowMs,
            BATCH,
          )
          .toArray();
      });
      if (due.length === 0) return;
      for (const { blob, upload_id } of due) {
        if (upload_id !== null) await this.#abort(blob, upload_id);
      }
      await this.env.FILES.delete(due.map(({ blob }) => blob));
      for (const { blob } of due) this.#sql.exec("DELETE FROM stray WHERE blob = ?", blob);
    }
  }

  /** R2 refuses to abort what is completed or aborted; and after seven days it aborts by itself. */
  async #abort(blob: string, uploadId: string): Promise<void> {
    await Promise.allSettled([this.env.FILES.resumeMultipartUpload(blob, uploadId).abort()]);
  }

  /** For whatever is due next. */
  async #setAlarm(): Promise<void> {
    const { due } = this.#sql
      .exec<{ due: number | null }>(
        `SELECT MIN(due) AS due FROM (
           SELECT MIN(due_at_ms) AS due FROM stray
           UNION ALL SELECT MIN(expires_at_ms) FROM file WHERE expires_at_ms IS NOT NULL)`,
      )
      .one();
    // One that rings too early costs less than one that is set anew with each file.
    const set = await this.ctx.storage.getAlarm();
    if (due !== null && (set === null || due < set)) await this.ctx.storage.setAlarm(due);
  }
}
