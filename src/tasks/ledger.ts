/**
 * The ledger: every background task, in SQLite, in a few Durable Objects (shards).
 *
 * A task is written before its caller is answered (an RPC reply waits for the write), and together with its first
 * claim, so that starting one costs a single round trip. What is in the ledger outlives the Worker that runs it.
 */
import { DurableObject } from "cloudflare:workers";
import { v5 as uuidv5, v7 as uuidv7 } from "uuid";
import { log } from "../kernel/log.ts";
import { LEASE_MS, mayReport, type Outcome } from "./rules.ts";
import { CREATE_TABLES, type TaskRow } from "./schema.ts";

export interface NewTask {
  type: string;
  /** JSON text. */
  input: string;
  /** Of two tasks with the same key, only the first is written. */
  key?: string;
}

/** The right to run a task: reports are taken only with the latest `token`. */
export interface Claim {
  taskId: string;
  token: number;
}

/** The namespace of ids that are made from keys (RFC 9562 §5.5). */
const KEYS = "b1a5a2c6-6b0e-4f0c-9d57-0f3f0f7f4a11";

export class TaskLedger extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec(CREATE_TABLES);
  }

  /** Writes the tasks, all or none, each already claimed by the caller. One that is there by its key is left alone. */
  startTasks(tasks: NewTask[]): (Claim & { isNew: boolean })[] {
    const nowMs = Date.now();
    return this.ctx.storage.transactionSync(() =>
      tasks.map(({ type, input, key }) => {
        const taskId = `${this.#shard}-${key === undefined ? uuidv7() : uuidv5(key, KEYS)}`;
        const inserted = this.#sql.exec(
          `INSERT INTO task (id, type, input, status, token, lease_ends_at_ms, created_at_ms, started_at_ms)
           VALUES (?, ?, ?, 'running', 1, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
          taskId,
          type,
          input,
          nowMs + LEASE_MS,
          nowMs,
          nowMs,
        );
        return { taskId, token: 1, isNew: inserted.rowsWritten > 0 };
      }),
    );
  }

  /** Renews a claim; false if it is not the task's latest any more, so the work is in vain. */
  heartbeat({ taskId, token }: Claim): boolean {
    if (!this.#mayReport(taskId, token)) return false;
    this.#sql.exec(
      "UPDATE task SET status = 'running', lease_ends_at_ms = ? WHERE id = ?",
      Date.now() + LEASE_MS,
      taskId,
    );
    return true;
  }

  /** Ends a task; false if the claim is stale. Repeating a report that was taken is harmless. */
  finish({ taskId, token }: Claim, outcome: Outcome): boolean {
    if (!this.#mayReport(taskId, token)) return false;
    const result = outcome.status === "succeeded" ? outcome.result : null;
    const error = outcome.status === "failed" ? JSON.stringify(outcome.error) : null;
    this.#sql.exec(
      "UPDATE task SET status = ?, finished_at_ms = ?, result = ?, error = ? WHERE id = ?",
      outcome.status,
      Date.now(),
      result,
      error,
      taskId,
    );
    return true;
  }

  getTask(taskId: string): TaskRow | undefined {
    return this.#sql.exec<TaskRow>("SELECT * FROM task WHERE id = ?", taskId).toArray()[0];
  }

  /** Marks the tasks whose Worker died, and logs each once. */
  sweep(): void {
    const lost = this.#sql.exec<Pick<TaskRow, "id" | "type">>(
      "UPDATE task SET status = 'lost' WHERE status = 'running' AND lease_ends_at_ms <= ? RETURNING id, type",
      Date.now(),
    );
    for (const { id, type } of lost)
      log("warn", "task lost: its Worker stopped reporting", { taskId: id, type });
  }

  #mayReport(taskId: string, token: number): boolean {
    const row = this.getTask(taskId);
    return row !== undefined && mayReport(row, token);
  }

  get #shard(): string {
    const name = this.ctx.id.name;
    if (name === undefined) throw new Error("A TaskLedger is reached by name: the name is its shard.");
    return name;
  }
}
