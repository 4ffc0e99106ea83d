/**
 * Letters of one ledger to others. A letter is written in the transaction that decides it, and leaves when it has been
 * received. So whatever dies in between, it arrives: at least once, so whoever receives it twice must act once.
 */
import type { Alarm } from "./alarm.ts";

type LetterRow = { id: string; letter: string; tries: number };

/** How many are under way at a time. If more are due, another alarm follows. */
const BATCH = 50;
/** When one is sent again whose sender may have died. It is longer than a call can take. */
const SENT_MS = 15_000;
/** The pause after one that failed, doubled each time. */
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;

interface Mail<Letter> {
  /** The table, and its column with the letter as JSON text. */
  table: string;
  column: string;
  /** One could not be delivered. It is sent again. */
  onFailure: (id: string, error: unknown) => void;
  /** Resolves when the letter has been received; to "later" if it cannot be yet. */
  deliver: (letter: Letter) => Promise<unknown>;
}

export class Outbox<Letter> {
  readonly #ctx: DurableObjectState;
  readonly #alarm: Alarm;
  readonly #mail: Mail<Letter>;

  constructor(ctx: DurableObjectState, alarm: Alarm, mail: Mail<Letter>) {
    this.#ctx = ctx;
    this.#alarm = alarm;
    this.#mail = mail;
  }

  /** In the caller's transaction. The alarm must follow. A letter whose id is there already stays as it is. */
  add(id: string, letter: Letter, nowMs: number): void {
    const { table, column } = this.#mail;
    this.#sql.exec(
      `INSERT INTO ${table} (id, ${column}, tries, due_at_ms) VALUES (?, ?, 0, ?) ON CONFLICT (id) DO NOTHING`,
      id,
      JSON.stringify(letter),
      nowMs,
    );
  }

  has(id: string): boolean {
    return this.#sql.exec(`SELECT 1 FROM ${this.#mail.table} WHERE id = ?`, id).toArray().length > 0;
  }

  nextDueAtMs(): number | null {
    const query = `SELECT MIN(due_at_ms) AS due FROM ${this.#mail.table}`;
    return this.#sql.exec<{ due: number | null }>(query).one().due;
  }

  /** Sends what is due. The alarm does not wait for it. */
  send(nowMs: number): void {
    const { table, column } = this.#mail;
    const query = `SELECT id, ${column} AS letter, tries FROM ${table} WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?`;
    for (const row of this.#sql.exec<LetterRow>(query, nowMs, BATCH).toArray()) {
      this.#postpone(row, nowMs + SENT_MS);
      this.#ctx.waitUntil(this.#deliver(row));
    }
  }

  async #deliver(row: LetterRow): Promise<void> {
    const { table, onFailure, deliver } = this.#mail;
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `add` wrote it
      const outcome = await deliver(JSON.parse(row.letter) as Letter);
      if (outcome === "later") return this.#pause(row);
      this.#sql.exec(`DELETE FROM ${table} WHERE id = ?`, row.id);
    } catch (error) {
      onFailure(row.id, error);
      this.#pause(row);
    }
  }

  #pause(row: LetterRow): void {
    this.#postpone(row, Date.now() + Math.min(MAX_PAUSE_MS, MIN_PAUSE_MS * 2 ** row.tries));
  }

  #postpone({ id, tries }: LetterRow, untilMs: number): void {
    const query = `UPDATE ${this.#mail.table} SET tries = ?, due_at_ms = ? WHERE id = ?`;
    this.#sql.exec(query, tries + 1, untilMs, id);
    this.#alarm.wakeAt(untilMs);
  }

  get #sql(): SqlStorage {
    return this.#ctx.storage.sql;
  }
}
