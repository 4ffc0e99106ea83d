/**
 * Sluice's ledger with additions for the bench: one that counts its tasks, and one that can be filled and measured
 * from inside.
 *
 * No other file of the bench knows the ledger's tables and methods.
 */

import { TaskLedger as Ledger } from "../../src/tasks/index.ts";
import { Dispatch } from "../../src/tasks/ledger/dispatch.ts";
import { DispatchTable } from "../../src/tasks/ledger/dispatch-table.ts";
import { limitsOf } from "../../src/tasks/ledger/limits.ts";
import { claim } from "../../src/tasks/ledger/rules.ts";
import { type Page, TaskQueries } from "../../src/tasks/ledger/task-queries.ts";
import { TaskTable } from "../../src/tasks/ledger/task-table.ts";

/** How many rows are written before they are committed. */
const CHUNK = 50_000;
const PAGE = 50;

/** Replaces Sluice's own ledger. */
export class TaskLedger extends Ledger {
  countSucceeded(): number {
    const found = this.ctx.storage.sql.exec<{ count: number }>(
      "SELECT count(*) AS count FROM task WHERE status = 'succeeded'",
    );
    return found.one().count;
  }
}

const TASK = {
  type: "bench",
  input: '{"ticket":0}',
  priority: 0,
  runAtMs: 0,
  callbackUrl: null,
  lane: "fast" as const,
};

interface Action {
  run: () => void;
  /** If so, each repetition is committed, and `restore` undoes all of them. */
  writes: boolean;
}

/** Undoes the writes of the actions. */
const RESTORE = [
  "DELETE FROM task WHERE type = 'bench'",
  "DELETE FROM event",
  `UPDATE task SET status = 'queued', rank_ms = created_at_ms, token = 0, attempt = 0, lane = NULL, due_at_ms = NULL,
     started_at_ms = NULL, attempt_started_at_ms = NULL, events = 1 WHERE status = 'running'`,
];

/** Half of the tasks are queued, one in twenty has failed, and the others have succeeded. There are ten types. */
const FILL = `
  WITH RECURSIVE number (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM number WHERE i < ?2 - 1),
  made (i, at, status) AS (
    SELECT i, ?4 + i * 1000,
      CASE WHEN i % 2 = 0 THEN 'queued' WHEN i % 20 = 11 THEN 'failed' ELSE 'succeeded' END FROM number
  )
  INSERT INTO task (id, type, input, status, pool, priority, rank_ms, token, attempt, crashes, is_resuming, busy_until_ms,
    spent_ms, due_at_ms, run_at_ms, created_at_ms, finished_at_ms, first_event, events, result)
  SELECT
    printf('%s-%08x-%04x-7000-8000-%012x', ?3, at >> 16, at & 65535, i),
    'type-' || (i / 7 % 10),
    '{"ticket":0}', status, 'new', 0, iif(status = 'queued', at, NULL), 0, 0, 0, 0, 0, 0,
    iif(status = 'queued', NULL, at + 1000000000000), at, at, iif(status = 'queued', NULL, at + 5),
    '{"status":"queued","attempt":0}', 1, 'null'
  FROM made`;

/** A ledger that never acts on its tasks by itself. */
export class FilledLedger extends Ledger {
  /** On the same tables as the ledger itself. */
  readonly #tasks = new TaskTable(this.ctx.storage.sql, () => {});
  readonly #queries = new TaskQueries(this.ctx.storage.sql);
  readonly #dispatch = new Dispatch(this.#queries, new DispatchTable(this.ctx.storage.sql), () =>
    limitsOf(undefined, undefined),
  );
  readonly #actions: Record<string, Action> = {
    nothing: { run: () => {}, writes: true },
    "submit and claim": {
      run: () => void this.submit([{ ...TASK, id: `s0-${crypto.randomUUID()}` }]),
      writes: true,
    },
    "claim the next": {
      run: () => {
        const nowMs = Date.now();
        for (const task of this.#dispatch.next(nowMs, 1)) this.#tasks.save(claim(task, "long", nowMs), nowMs);
      },
      writes: true,
    },
    "list a page": { run: () => this.#list([], undefined), writes: false },
    "list a page of a status": { run: () => this.#list(["failed"], undefined), writes: false },
    "list a page of a type and a status": {
      run: () => this.#list(["failed"], "type-3"),
      writes: false,
    },
    "list an empty page": { run: () => this.#list(["cancelled"], undefined), writes: false },
  };

  /** The last task is created now, and each of the others a second before the next. */
  async fill(count: number): Promise<void> {
    const firstMs = Date.now() - count * 1000;
    for (let from = 0; from < count; from += CHUNK) {
      const to = Math.min(from + CHUNK, count);
      this.ctx.storage.sql.exec(FILL, from, to, this.ctx.id.name ?? "", firstMs);
      await this.ctx.storage.sync();
    }
  }

  async repeat(name: string, times: number): Promise<void> {
    const action = this.#actions[name];
    if (!action) throw new Error(`There is no action "${name}".`);
    for (let done = 0; done < times; done++) {
      action.run();
      if (action.writes) await this.ctx.storage.sync();
    }
  }

  async restore(): Promise<void> {
    for (const statement of RESTORE) this.ctx.storage.sql.exec(statement);
    await this.ctx.storage.sync();
  }

  override alarm(): void {
    // Due tasks stay due.
  }

  #list(statuses: Page["statuses"], type: string | undefined): void {
    const before = { createdAtMs: Number.MAX_SAFE_INTEGER, id: "" };
    this.#queries.list({ statuses, type, fromMs: 0, before, limit: PAGE });
  }
}
