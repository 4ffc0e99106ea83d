/** A ledger's tables across versions: those of 0.1.0 move forward, and nothing that a later version may write breaks. */
import { evictDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  DAY_MS,
  FAILURE,
  type Inside,
  inLedger,
  ledgerCalled,
  newLedgerName,
  newTask,
  pass,
  SUCCESS,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

registerTaskTypes([defineTask({ name: "ledger-moves", input: z.unknown(), run: async () => null })]);

useClock();
keepQuiet();

const task = (id: string, more = {}) => newTask("ledger-moves", id, more);

/** The table of tasks as Sluice 0.1.0 creates it. */
const TASKS_0_1_0 = `
  CREATE TABLE task (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, input TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('scheduled', 'queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')),
    priority INTEGER NOT NULL, rank_ms INTEGER, token INTEGER NOT NULL, attempt INTEGER NOT NULL,
    crashes INTEGER NOT NULL, is_resuming INTEGER NOT NULL, lane TEXT,
    pool TEXT NOT NULL CHECK (pool IN ('new', 'begun', 'tick', 'callback')),
    busy_until_ms INTEGER NOT NULL, due_at_ms INTEGER CHECK (due_at_ms IS NOT NULL OR status = 'queued'),
    run_at_ms INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, started_at_ms INTEGER, attempt_started_at_ms INTEGER,
    spent_ms INTEGER NOT NULL, finished_at_ms INTEGER, progress_ratio REAL, progress_message TEXT, callback_url TEXT,
    first_event TEXT NOT NULL, events INTEGER NOT NULL, result TEXT, error TEXT
  ) STRICT`;
const OLD_COLUMNS = `id, type, input, status, priority, rank_ms, token, attempt, crashes, is_resuming, lane, pool,
  busy_until_ms, due_at_ms, run_at_ms, created_at_ms, started_at_ms, attempt_started_at_ms, spent_ms, finished_at_ms,
  progress_ratio, progress_message, callback_url, first_event, events, result, error`;

/** Makes the tables those of 0.1.0, with all that is in them. */
function moveBack(inside: Inside): void {
  inside.sql("ALTER TABLE task RENAME TO newer");
  inside.sql(TASKS_0_1_0);
  inside.sql(`INSERT INTO task (${OLD_COLUMNS}) SELECT ${OLD_COLUMNS} FROM newer`);
  inside.sql("DROP TABLE newer");
  inside.sql("CREATE INDEX task_kind ON task (status, type, created_at_ms, id)");
  inside.storage.kv.delete("schema-version");
}

const columns = (inside: Inside) =>
  inside.sql("SELECT name FROM pragma_table_info('task')").map(({ name }) => name);

test("a ledger of 0.1.0 keeps its tasks, and gets what it lacks", async () => {
  const name = newLedgerName();
  await inLedger(name, (inside) => {
    inside.object.submit([task("runs", { lane: "fast" }), task("waits")]);
    inside.object.step({ taskId: "runs", token: 1 }, "one", "1");
    moveBack(inside);
  });
  await evictDurableObject(ledgerCalled(name));
  await inLedger(name, (inside) => {
    expect(columns(inside)).toContain("has_new_step");
    // Its own indexes, and no other: each would be written as well.
    const indexes =
      "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'task' AND sql NOT NULL";
    expect(inside.sql(`${indexes} ORDER BY name`).map((index) => index.name)).toEqual([
      "task_fast",
      "task_forgotten",
      "task_guard",
      "task_keyed",
      "task_late",
      "task_listed",
      "task_passing",
      "task_queue",
      "task_runners",
      "task_waking",
    ]);
    expect(inside.object.renew({ taskId: "runs", token: 1 })).toMatchObject({ reply: "ok" });
    inside.report("runs", SUCCESS);
    expect(inside.alarm()).toEqual([{ taskId: "waits", token: 1 }]);
    expect(inside.object.open({ taskId: "waits", token: 1 })).toMatchObject({ type: "ledger-moves" });
  });
});

test("a status and a pool that there are not yet break no table, of this version or of 0.1.0", async () => {
  for (const isOld of [false, true]) {
    const name = newLedgerName();
    await inLedger(name, (inside) => {
      inside.object.submit([task("a")]);
      if (isOld) moveBack(inside);
    });
    await evictDurableObject(ledgerCalled(name));
    await inLedger(name, (inside) => {
      inside.sql("UPDATE task SET status = 'paused', pool = 'urgent', due_at_ms = NULL");
      expect(inside.object.getTask("a")).toMatchObject({ status: "paused", pool: "urgent" });
    });
  }
});

test("a task that a later version has left in a status of its own is left alone, and holds up no other", async () => {
  await inLedger(newLedgerName(), (inside) => {
    inside.object.submit([task("later"), task("b", { runAtMs: Date.now() + 10 })]);
    inside.sql("UPDATE task SET status = 'paused', due_at_ms = 1, rank_ms = NULL WHERE id = 'later'");
    pass(10);
    expect(inside.alarm()).toEqual([{ taskId: "b", token: 1 }]);
    expect(inside.status("later")).toBe("paused");
    expect(inside.object.getTask("later")?.due_at_ms).toBe(Date.now() + 60_000);
  });
});

test("what 0.1.0 has ended is listed, has each event once, and is removed after its retention", async () => {
  await inLedger(newLedgerName(), (inside) => {
    inside.object.submit([task("old", { lane: "fast" }), task("kept", { lane: "fast" })]);
    const data = JSON.stringify({ status: "succeeded", attempt: 1 });
    inside.sql(
      "INSERT INTO event (task_id, number, at_ms, name, data) VALUES ('old', 2, ?, 'status', ?)",
      T0,
      data,
    );
    inside.sql(
      "UPDATE task SET status = 'succeeded', lane = NULL, events = 2, finished_at_ms = ?1, due_at_ms = ?1 + ?2 WHERE id = 'old'",
      T0,
      7 * DAY_MS,
    );
    inside.report("kept", FAILURE);
    expect(inside.events("old").map(({ number }) => number)).toEqual([1, 2]);
    expect(inside.object.watch("old", 2, "reader")).toBe("over");
    pass(7 * DAY_MS);
    inside.alarm();
    expect(inside.statuses()).toEqual({ kept: "failed" });
    expect(inside.sql("SELECT 1 FROM event")).toEqual([]);
  });
});

test("0.1.0 can write into the tables of this version", async () => {
  await inLedger(newLedgerName(), (inside) => {
    inside.object.submit([task("a")]);
    inside.sql(`INSERT INTO task (${OLD_COLUMNS})
      SELECT ${OLD_COLUMNS.replace("id,", "'old',")} FROM task WHERE id = 'a'`);
    expect(inside.object.getTask("old")).toMatchObject({ status: "queued", has_new_step: 0 });
    expect(inside.alarm()).toHaveLength(2);
  });
});
