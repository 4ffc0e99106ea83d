/**
 * Tasks on their way to another shard: follow-ups of a type with a `concurrency`, which has a shard of its own.
 *
 * Such a task is written here in the transaction that decides it, and leaves when the other shard has it. Its id is fixed
 * before, so that it can be sent again without harm. Whatever dies in between, it arrives.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import type { Alarm } from "./alarm.ts";
import type { NewTask } from "./claim.ts";
import { submitAlone } from "./shards.ts";

/** A row: `task` is a `NewTask` as JSON text. */
type HandoverRow = { id: string; task: string; tries: number };

/** How many are under way at a time. If more are due, another alarm follows. */
const BATCH = 50;
/** When one is sent again whose sender may have died. It is longer than a call can take. */
const SENT_MS = 15_000;
/** The pause after one that failed, doubled each time. */
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;

export class Handovers {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #alarm: Alarm;

  constructor(ctx: DurableObjectState, env: Env, alarm: Alarm) {
    this.#ctx = ctx;
    this.#env = env;
    this.#alarm = alarm;
  }

  /** In the caller's transaction. The alarm must follow. */
  add(task: NewTask, nowMs: number): void {
    this.#sql.exec(
      "INSERT INTO handover (id, task, tries, due_at_ms) VALUES (?, ?, 0, ?)",
      task.id,
      JSON.stringify(task),
      nowMs,
    );
  }

  nextDueAtMs(): number | null {
    return this.#sql.exec<{ due: number | null }>("SELECT MIN(due_at_ms) AS due FROM handover").one().due;
  }

  /** Sends what is due. The alarm does not wait for it. */
  send(nowMs: number): void {
    const query = "SELECT id, task, tries FROM handover WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?";
    for (const row of this.#sql.exec<HandoverRow>(query, nowMs, BATCH).toArray()) {
      this.#postpone(row, nowMs + SENT_MS);
      this.#ctx.waitUntil(this.#deliver(row));
    }
  }

  async #deliver(row: HandoverRow): Promise<void> {
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `add` wrote it
      const task = JSON.parse(row.task) as NewTask;
      await callObject(async () => submitAlone(this.#env, [task]));
      this.#sql.exec("DELETE FROM handover WHERE id = ?", row.id);
    } catch (error) {
      log("error", "a follow-up could not be handed over to its shard", {
        taskId: row.id,
        ...errorFields(error),
      });
      this.#postpone(row, Date.now() + Math.min(MAX_PAUSE_MS, MIN_PAUSE_MS * 2 ** row.tries));
    }
  }

  #postpone({ id, tries }: HandoverRow, untilMs: number): void {
    this.#sql.exec("UPDATE handover SET tries = ?, due_at_ms = ? WHERE id = ?", tries + 1, untilMs, id);
    this.#alarm.wakeAt(untilMs);
  }

  get #sql(): SqlStorage {
    return this.#ctx.storage.sql;
  }
}
