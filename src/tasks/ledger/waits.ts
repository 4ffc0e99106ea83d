/**
 * The waits of tasks and the signals that are sent to them, in SQL. `wait-rules.ts` decides.
 *
 * Each call here is part of one turn of the ledger, so what it writes is committed together: a signal is received, its wait
 * has ended and is recorded as a step, or none of it.
 */
import type { TaskRow } from "./schema.ts";
import { isFinal } from "./task-state.ts";
import type { TaskTable } from "./task-table.ts";
import { isParkedBy, onSignal, onWait, type SignalRoom, WAIT_PREFIX, type WaitEnd } from "./wait-rules.ts";
import type { SignalRow, WaitingFor, WaitRow } from "./wait-schema.ts";

/** A signal on its way to a task. */
export interface Signal {
  /** The same for each repeat of it. */
  id: string;
  name: string;
  /** JSON text. */
  payload: string;
  /** With an Idempotency-Key: of name and payload. */
  fingerprint?: string;
}

/** What a run learns of a wait: its end, as JSON text of a `WaitEnd`, or until when it lasts. */
export type WaitReply = { end: string } | { untilMs: number };

/** What became of a signal. `isRepeat`: it was there before. `isReceived`: a wait has got it; else it is kept for one. */
export type Sent =
  | { is: "sent"; atMs: number; isRepeat: boolean; isReceived: boolean }
  | { is: "ended" | "full" | "used-by-another-request" };

export class Waits {
  readonly #sql: SqlStorage;
  readonly #tasks: TaskTable;

  constructor(sql: SqlStorage, tasks: TaskTable) {
    this.#sql = sql;
    this.#tasks = tasks;
  }

  /** A run has come to a wait. `untilMs` counts if the wait is new. */
  begin(task: TaskRow, key: string, name: string, untilMs: number, nowMs: number): WaitReply {
    const recorded = this.#tasks.stepResult(task.id, key);
    if (recorded !== undefined) return { end: recorded };
    const begun = this.#wait(task.id, key);
    const kept = this.#kept(task.id, name);
    const outcome = onWait(begun?.until_ms ?? untilMs, kept !== undefined, nowMs);
    if (outcome.is === "waiting") {
      if (!begun) this.#insertWait(task.id, key, name, outcome.untilMs);
      return { untilMs: outcome.untilMs };
    }
    if (outcome.is === "received" && kept) {
      this.#markReceived(kept);
      return { end: this.#end(task, key, `{"signal":${kept.payload}}`) };
    }
    const end = this.#end(task, key, TIMED_OUT);
    this.#tasks.recordEvent(task.id, { name: "signal", data: { signal: name, timedOut: true } }, nowMs);
    return { end };
  }

  /** Writes a signal. Returns what became of it, and whether that wakes the task. */
  send(task: TaskRow, signal: Signal, nowMs: number): { sent: Sent; wakes: boolean } {
    const before = this.#signal(task.id, signal.id);
    if (before) return { sent: repeated(before, signal), wakes: false };
    if (isFinal(task.status)) return { sent: { is: "ended" }, wakes: false };
    const wait = this.#oldestWait(task.id, signal.name);
    const bytes = Buffer.byteLength(signal.payload);
    const outcome = onSignal(this.#room(task.id), bytes, wait !== undefined);
    if (outcome === "full") return { sent: { is: "full" }, wakes: false };
    this.#insertSignal(task.id, signal, outcome === "received" ? null : signal.payload, bytes, nowMs);
    if (wait) this.#end(task, wait.key, `{"signal":${signal.payload}}`);
    this.#tasks.recordEvent(task.id, { name: "signal", data: { signal: signal.name } }, nowMs);
    const sent = { is: "sent", atMs: nowMs, isRepeat: false, isReceived: wait !== undefined } as const;
    return { sent, wakes: wait !== undefined && isParkedBy(task, wait.parked_token) };
  }

  /**
   * A run ends with nothing to do but to wait, under these keys. Returns the names that it waits for; null if one of the waits
   * has ended meanwhile: then the task must go on at once.
   */
  park(taskId: string, keys: readonly string[], token: number): string[] | null {
    const waits = keys.map((key) => this.#wait(taskId, key));
    if (waits.includes(undefined)) return null;
    for (const key of keys)
      this.#sql.exec("UPDATE wait SET parked_token = ? WHERE task_id = ? AND key = ?", token, taskId, key);
    return waits.flatMap((wait) => (wait ? [wait.name] : []));
  }

  /** Whether the wait under a key has not ended. */
  isWaiting(taskId: string, key: string): boolean {
    return this.#wait(taskId, key) !== undefined;
  }

  /** What a task waits for; undefined if it is not parked. */
  waitingFor(task: TaskRow): WaitingFor | undefined {
    if (task.status !== "scheduled") return undefined;
    const parked = this.#of(task.id).filter(({ parked_token }) => isParkedBy(task, parked_token));
    if (parked.length === 0) return undefined;
    return parked.map(({ name, until_ms }) => ({ signal: name, until: new Date(until_ms).toISOString() }));
  }

  /** A task begins another life: waits that have timed out, or were under way, begin anew. What was received stays. */
  reopen(taskId: string): void {
    this.#sql.exec("DELETE FROM wait WHERE task_id = ?", taskId);
    this.#sql.exec(
      "DELETE FROM step WHERE task_id = ?1 AND name > ?2 AND name < ?3 AND result = ?4",
      taskId,
      WAIT_PREFIX,
      `${WAIT_PREFIX}:`,
      TIMED_OUT,
    );
  }

  /** Records the end of a wait, as JSON text, which it returns. */
  #end({ id }: TaskRow, key: string, end: string): string {
    this.#sql.exec("DELETE FROM wait WHERE task_id = ? AND key = ?", id, key);
    this.#tasks.recordSilently(id, key, end);
    return end;
  }

  #of(taskId: string): WaitRow[] {
    return this.#sql.exec<WaitRow>("SELECT * FROM wait WHERE task_id = ? ORDER BY number", taskId).toArray();
  }

  #wait(taskId: string, key: string): WaitRow | undefined {
    const query = "SELECT * FROM wait WHERE task_id = ? AND key = ?";
    return this.#sql.exec<WaitRow>(query, taskId, key).toArray()[0];
  }

  #oldestWait(taskId: string, name: string): WaitRow | undefined {
    return this.#of(taskId).find((wait) => wait.name === name);
  }

  #insertWait(taskId: string, key: string, name: string, untilMs: number): void {
    this.#sql.exec(
      `INSERT INTO wait (task_id, key, number, name, until_ms)
         VALUES (?1, ?2, (SELECT ifnull(max(number), 0) + 1 FROM wait WHERE task_id = ?1), ?3, ?4)`,
      taskId,
      key,
      name,
      untilMs,
    );
  }

  #signal(taskId: string, id: string): SignalRow | undefined {
    const query = "SELECT * FROM signal WHERE task_id = ? AND id = ?";
    return this.#sql.exec<SignalRow>(query, taskId, id).toArray()[0];
  }

  /** The first of the signals that are kept under a name. */
  #kept(taskId: string, name: string): SignalRow | undefined {
    const query =
      "SELECT * FROM signal WHERE task_id = ? AND name = ? AND payload IS NOT NULL ORDER BY number LIMIT 1";
    return this.#sql.exec<SignalRow>(query, taskId, name).toArray()[0];
  }

  #markReceived({ task_id, id }: SignalRow): void {
    this.#sql.exec("UPDATE signal SET payload = NULL WHERE task_id = ? AND id = ?", task_id, id);
  }

  #insertSignal(
    taskId: string,
    { id, name, fingerprint }: Signal,
    payload: string | null,
    bytes: number,
    atMs: number,
  ): void {
    this.#sql.exec(
      `INSERT INTO signal (task_id, id, number, name, payload, bytes, fingerprint, at_ms)
         VALUES (?1, ?2, (SELECT ifnull(max(number), 0) + 1 FROM signal WHERE task_id = ?1), ?3, ?4, ?5, ?6, ?7)`,
      taskId,
      id,
      name,
      payload,
      bytes,
      fingerprint ?? null,
      atMs,
    );
  }

  #room(taskId: string): SignalRoom {
    const query = `SELECT count(*) AS total, count(payload) AS kept, ifnull(sum(bytes), 0) AS bytes
      FROM signal WHERE task_id = ?`;
    return this.#sql.exec<{ total: number; kept: number; bytes: number }>(query, taskId).one();
  }
}

const TIMED_OUT = JSON.stringify({ timedOut: true } satisfies WaitEnd);

function repeated(before: SignalRow, { fingerprint }: Signal): Sent {
  if (before.fingerprint !== (fingerprint ?? null)) return { is: "used-by-another-request" };
  return { is: "sent", atMs: before.at_ms, isRepeat: true, isReceived: before.payload === null };
}
