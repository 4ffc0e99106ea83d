/**
 * Files that are stored and that nobody sees yet: a rule has each of them checked by a task before it is published.
 *
 *     commit ──▶ held ──check starts──▶ checked ──accepted──▶ published, then its task starts ──▶ forgotten
 *                  │                        └────refused───▶ gone
 *                  └── never decided: after seven days ──▶ gone
 *
 * The bytes stay what they were before, reserved (stray-blobs.ts), until seven days later. What the file will be, and what
 * its publication depends on, is a row here. Each step is one transaction, and can be repeated; there is no row, and no call,
 * for files that no rule has checked.
 */
import type { Preconditions } from "./preconditions.ts";
import type { NewFile } from "./schema.ts";

/** How long a file is held at most. */
export const HELD_MS = 7 * 86_400_000;
/** When a check could not be started, it is tried again after this pause. */
export const CHECK_RETRY_MS = 60_000;

/** What is to happen with files that are committed, before anybody sees them and after. */
export interface Hold {
  /** The task type that decides. */
  check: string;
  /** The task to start with each file once it is published. */
  task: string | null;
}

export interface HeldFile extends Hold {
  file: NewFile;
  preconditions: Preconditions;
  heldAtMs: number;
  /** The task that decides; null: it is not started yet, or cannot be. */
  checkTaskId: string | null;
  /** It is a file by now, and only its task may not have been started. */
  isPublished: boolean;
}

export const CREATE_HELD = `
  CREATE TABLE IF NOT EXISTS held (
    version       TEXT PRIMARY KEY,
    id            TEXT NOT NULL,
    record        TEXT NOT NULL,
    held_at_ms    INTEGER NOT NULL,
    check_task_id TEXT,
    check_at_ms   INTEGER,
    is_published  INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS held_id ON held (id);
  CREATE INDEX IF NOT EXISTS held_unchecked ON held (check_at_ms) WHERE check_at_ms IS NOT NULL;
`;

type HeldRow = { record: string; held_at_ms: number; check_task_id: string | null; is_published: number };
type HeldRecord = Pick<HeldFile, "file" | "preconditions" | "check" | "task">;

export const versionOf = (blob: string): string => blob.slice(blob.lastIndexOf("/") + 1);

/** The table of the catalogue that has them. */
export class HeldFiles {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  add(file: NewFile, preconditions: Preconditions, { check, task }: Hold, nowMs: number): void {
    const record: HeldRecord = { file, preconditions, check, task };
    this.#sql.exec(
      "INSERT OR IGNORE INTO held (version, id, record, held_at_ms, check_at_ms) VALUES (?, ?, ?, ?, ?)",
      versionOf(file.blob),
      file.id,
      JSON.stringify(record),
      nowMs,
      nowMs,
    );
  }

  find(version: string): HeldFile | undefined {
    return this.#read("version = ?", version)[0];
  }

  hasBlob(blob: string): boolean {
    return this.find(versionOf(blob)) !== undefined;
  }

  /** Those of an id that came before a time. */
  before(id: string, ms: number): HeldFile[] {
    return this.#read("id = ? AND held_at_ms < ? AND is_published = 0", id, ms);
  }

  /** The newest `limit` whose version is less than `below`. */
  list(below: string, limit: number): HeldFile[] {
    return this.#read("version < ? AND is_published = 0 ORDER BY version DESC LIMIT ?", below, limit);
  }

  /** At most 100 whose check is due to be started. */
  unchecked(nowMs: number): HeldFile[] {
    return this.#read("check_at_ms <= ? LIMIT 100", nowMs);
  }

  /** `taskId`: null if it can no longer be started. */
  noteChecked(version: string, taskId: string | null): void {
    this.#sql.exec(
      "UPDATE held SET check_at_ms = NULL, check_task_id = ? WHERE version = ?",
      taskId,
      version,
    );
  }

  checkLater(version: string, atMs: number): void {
    this.#sql.exec("UPDATE held SET check_at_ms = ? WHERE version = ?", atMs, version);
  }

  notePublished(version: string): void {
    this.#sql.exec("UPDATE held SET check_at_ms = NULL, is_published = 1 WHERE version = ?", version);
  }

  delete(version: string): void {
    this.#sql.exec("DELETE FROM held WHERE version = ?", version);
  }

  #read(where: string, ...values: (string | number)[]): HeldFile[] {
    return this.#sql
      .exec<HeldRow>(
        `SELECT record, held_at_ms, check_task_id, is_published FROM held WHERE ${where}`,
        ...values,
      )
      .toArray()
      .map((row) => {
        const record: HeldRecord = JSON.parse(row.record);
        const { held_at_ms: heldAtMs, check_task_id: checkTaskId } = row;
        return { ...record, heldAtMs, checkTaskId, isPublished: row.is_published === 1 };
      });
  }
}
