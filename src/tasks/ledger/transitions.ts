/**
 * What becomes of a rule's decision: the change is written, and what follows from it, the callback of a task that has
 * ended and the next alarm. A task with which that is not possible is set aside, so that it holds up no other.
 */

import { errorFields, log } from "../../kernel/log.ts";
import { CALLBACK_TYPE, DEFAULT_RETRY } from "../types/define.ts";
import { findTaskType } from "../types/registry.ts";
import type { Alarm } from "./alarm.ts";
import { type Change, isFinal, submit, type Terms } from "./rules.ts";
import type { Runners } from "./runners.ts";
import type { TaskRow } from "./schema.ts";
import { readTaskSettings } from "./settings.ts";
import { taskIdOfKey } from "./task-id.ts";
import type { TaskTable } from "./task-table.ts";

/** When to look again at a task that could not be handled. */
const UNREADABLE_PAUSE_MS = 60_000;

/** The parts of a ledger that a change concerns. */
interface Parts {
  book: TaskTable;
  alarm: Alarm;
  runners: Runners;
}

export class Transitions {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #parts: Parts;

  constructor(ctx: DurableObjectState, env: Env, parts: Parts) {
    this.#ctx = ctx;
    this.#env = env;
    this.#parts = parts;
  }

  /** Writes a change to a task. */
  apply(change: Change<TaskRow>): void {
    const { book, alarm, runners } = this.#parts;
    const nowMs = Date.now();
    const { id, status, callback_url, due_at_ms } = change.task;
    if (status !== "running") runners.forget(id);
    const callsBack = isFinal(status) && callback_url !== null;
    if (callsBack)
      this.#ctx.storage.transactionSync(() => {
        book.save(change, nowMs);
        this.#callBack(change.task, callback_url, nowMs);
      });
    else book.save(change, nowMs);
    alarm.wakeAt(callsBack ? nowMs : (due_at_ms ?? nowMs));
  }

  /** Keeps what is wrong with one task from the others. */
  guard(taskId: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      log("error", "a task could not be handled", { taskId, ...errorFields(error) });
      const againAtMs = Date.now() + UNREADABLE_PAUSE_MS;
      this.#parts.book.setAside(taskId, againAtMs);
      this.#parts.alarm.wakeAt(againAtMs);
    }
  }

  /** What the rules must be told beside a task. */
  termsOf(task: TaskRow): Terms {
    return {
      nowMs: Date.now(),
      random: Math.random(),
      retry: findTaskType(task.type)?.retry ?? DEFAULT_RETRY,
      retentionMs: readTaskSettings(this.#env).retentionMs,
    };
  }

  /** One for each end of a task: it may have several, if it is retried by hand. */
  #callBack({ id: taskId, events, finished_at_ms }: TaskRow, url: string, nowMs: number): void {
    const finishedAt = new Date(finished_at_ms ?? nowMs).toISOString();
    const entry = {
      id: taskIdOfKey(this.#shard, `callback:${taskId}:${events}`),
      type: CALLBACK_TYPE,
      input: JSON.stringify({ taskId, finishedAt, url }),
      callbackUrl: null,
    };
    this.#parts.book.enter(entry, submit(0, nowMs, null, nowMs), nowMs);
  }

  get #shard(): string {
    const name = this.#ctx.id.name;
    if (name === undefined) throw new Error("A TaskLedger is reached by name: the name is its shard.");
    return name;
  }
}
