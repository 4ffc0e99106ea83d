/**
 * Applies the rules to stored tasks. A state transition is written together with what follows from it: the callback
 * of a task that has ended, the tasks that follow one that has succeeded, and the next alarm. A task that cannot be
 * handled is set aside, so that it holds up no other.
 */

import { errorFields, log } from "../../kernel/log.ts";
import { concurrencyKeyIfAny } from "../types/concurrency-key.ts";
import { CALLBACK_TYPE, DEFAULT_RETRY } from "../types/define.ts";
import { findTaskType } from "../types/registry.ts";
import type { Alarm } from "./alarm.ts";
import type { Claim, Report } from "./claim.ts";
import type { Dispatch } from "./dispatch.ts";
import type { FlowMessage } from "./flow-messages.ts";
import type { Flows } from "./flows.ts";
import { beginningOf, isHere, startFollowUps } from "./follow-ups.ts";
import type { Guards } from "./guards.ts";
import type { Handovers } from "./handovers.ts";
import type { Limits } from "./limits.ts";
import type { Outbox } from "./outbox.ts";
import {
  cancel,
  goesOn,
  type RuleInputs,
  report,
  retry,
  stopped,
  submit,
  type Transition,
  wake,
} from "./rules.ts";
import type { Runners } from "./runners.ts";
import type { TaskRow } from "./schema.ts";
import { readTaskSettings } from "./settings.ts";
import { schedulerOf } from "./shards.ts";
import type { TaskFigures } from "./task-figures.ts";
import { taskIdOfKey } from "./task-id.ts";
import type { TaskQueries } from "./task-queries.ts";
import { isFinal, type Outcome } from "./task-state.ts";
import type { TaskTable } from "./task-table.ts";
import type { Waits } from "./waits.ts";

/** How long a task that could not be handled is left alone. */
const SET_ASIDE_MS = 60_000;

/** The parts of a ledger that its classes share. */
export interface LedgerParts {
  tasks: TaskTable;
  queries: TaskQueries;
  alarm: Alarm;
  runners: Runners;
  handovers: Handovers;
  figures: TaskFigures;
  waits: Waits;
  flows: Flows;
  messages: Outbox<FlowMessage>;
  guards: Guards;
  dispatch: Dispatch;
  limitsOf: (type: string) => Limits;
}

export class Transitions {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #parts: LedgerParts;

  constructor(ctx: DurableObjectState, env: Env, parts: LedgerParts) {
    this.#ctx = ctx;
    this.#env = env;
    this.#parts = parts;
  }

  /** Writes a state transition, and what follows from it. */
  apply(transition: Transition<TaskRow>): void {
    const { tasks, alarm, runners, figures } = this.#parts;
    const nowMs = Date.now();
    figures.onTransition(transition);
    const { id, status, pool, callback_url, due_at_ms } = transition.task;
    if (status !== "running") runners.forget(id);
    if (isFinal(status) && pool === "tick") this.#ctx.waitUntil(this.#tellScheduler(id));
    const callsBack = isFinal(status) && callback_url !== null;
    const continues = status === "succeeded" && transition.task.then_tasks !== null;
    const tells = (isFinal(status) || status === "cancelling") && this.#parts.flows.concerns(id);
    if (callsBack || continues || tells)
      this.#ctx.storage.transactionSync(() => {
        if (continues) this.startFollowUps(id, transition.task.result);
        tasks.save(transition, nowMs);
        if (callsBack) this.#insertCallback(transition.task, callback_url, nowMs);
        if (tells) this.tellFlow(transition.task);
      });
    else tasks.save(transition, nowMs);
    // Of a task that has ended, nothing is left to do but its removal, which can wait for other work.
    if (callsBack || continues || tells) alarm.wakeAt(nowMs);
    if (!isFinal(status)) alarm.wakeAt(due_at_ms ?? nowMs);
  }

  /** Writes the follow-ups of a task that succeeds with this result, as JSON text, in the caller's transaction. */
  startFollowUps(taskId: string, result: string | null): void {
    const { tasks, handovers } = this.#parts;
    const row = tasks.get(taskId);
    if (!row || row.then_tasks === null) return;
    const nowMs = Date.now();
    const scope = {
      input: JSON.parse(row.input) as unknown,
      result: JSON.parse(result ?? "null") as unknown,
    };
    const started = startFollowUps(row.then_tasks, scope, this.#shard, nowMs);
    for (const followUp of started) {
      const task = { ...followUp.task, trace: row.trace };
      if (!isHere(followUp, this.#shard)) {
        handovers.add(task.id, task, nowMs);
        continue;
      }
      const beginning = beginningOf(followUp, {
        retentionMs: this.retentionMs,
        nowMs,
        random: 0,
        retry: DEFAULT_RETRY,
      });
      tasks.insert({ ...task, concurrencyKey: concurrencyKeyIfAny(task.type, task.input) }, beginning, nowMs);
      const { status, finished_at_ms } = beginning.task;
      if (isFinal(status) && task.callbackUrl !== null)
        this.#insertCallback(
          { id: task.id, events: 1, finished_at_ms, trace: task.trace ?? null },
          task.callbackUrl,
          nowMs,
        );
    }
    tasks.recordFollowUps(
      taskId,
      started.map(({ task }) => task.id),
    );
  }

  /** As `apply`, for a claim that ends by it. If its code may still be at work in a runner, that is stopped. */
  applyEnd({ id: taskId, lane, token }: TaskRow, transition: Transition<TaskRow>): void {
    this.apply(transition);
    const mayBeAtWork = lane === "long" && transition.task.busy_until_ms > Date.now();
    if (mayBeAtWork) this.#ctx.waitUntil(this.#stop({ taskId, token }));
  }

  /** Applies the outcomes of claims. An outcome that is no longer accepted, or was already applied, is ignored. */
  report(reports: Report[]): void {
    const { tasks, alarm, dispatch } = this.#parts;
    for (const { taskId, token, outcome, busyUntilMs } of reports) {
      this.guard(taskId, () => {
        const task = tasks.getLean(taskId);
        const transition = task && report(task, token, outcome, this.inputsFor(task), busyUntilMs);
        if (!task || !transition) return;
        const parked = this.#park(transition, outcome);
        this.applyEnd(task, this.#parts.limitsOf(task.type).isPaused ? goesOn(parked) : parked);
      });
    }
    if (reports.length > 0 && dispatch.hasQueued()) alarm.wakeAt(Date.now());
  }

  /** Writes what the parent and the children of a task must hear of its end, or of its cancel, in the caller's transaction. */
  tellFlow(task: TaskRow): void {
    const { flows } = this.#parts;
    const nowMs = Date.now();
    const news = flows.takeNews(task);
    if (news) flows.post(news, nowMs);
    if (task.status !== "cancelling" && task.status !== "cancelled") return;
    for (const { id, life } of flows.openChildren(task.id))
      flows.post({ kind: "cancel", childId: id, life }, nowMs);
  }

  /** Cancels a task, for good; "ended" if it has already succeeded or failed. */
  cancel(task: TaskRow): "cancelled" | "ended" {
    const transition = cancel(task, this.inputsFor(task));
    if (transition === undefined) return "ended";
    if (transition === "already") return "cancelled";
    this.apply(transition);
    if (transition.task.lane === "long")
      this.#ctx.waitUntil(this.#parts.runners.cancel({ taskId: task.id, token: transition.task.token }));
    return "cancelled";
  }

  /** Begins another life of a task that failed or was cancelled; false for any other, or if another has its unique key. */
  retry(task: TaskRow): boolean {
    const { tasks, waits, flows, guards, figures } = this.#parts;
    const transition = retry(task, Date.now());
    if (!transition || !guards.takeBack(task.id)) return false;
    figures.beforeForgetting([task], Date.now());
    this.#ctx.storage.transactionSync(() => {
      const events = tasks.reopen(task);
      waits.reopen(task.id);
      for (const message of flows.reopen(task.id)) flows.post(message, Date.now());
      this.apply({ ...transition, task: { ...transition.task, events } });
    });
    return true;
  }

  /** Something that a parked task waits for has come. */
  wake(taskId: string): void {
    const task = this.#parts.tasks.getLean(taskId);
    if (task) this.apply(wake(task, Date.now()));
  }

  /** A task that has ended its run to wait is parked, unless what it waits for has come meanwhile. */
  #park(transition: Transition<TaskRow>, outcome: Outcome): Transition<TaskRow> {
    const { task, event } = transition;
    if (outcome.kind !== "handed-over" || outcome.waits === undefined || task.status !== "scheduled")
      return transition;
    const waitingFor = this.#parts.waits.park(task.id, outcome.waits, task.token);
    if (waitingFor === null) return wake(task, Date.now());
    return { task, event: { ...event, data: { ...event.data, waitingFor } } };
  }

  /** Runs an action on one task, and keeps its failure from affecting other tasks. */
  guard(taskId: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      log("error", "a task could not be handled", { taskId, ...errorFields(error) });
      const untilMs = Date.now() + SET_ASIDE_MS;
      this.#parts.tasks.setAside(taskId, untilMs);
      this.#parts.alarm.wakeAt(untilMs);
    }
  }

  /** Has a runner stop the code of a claim that has ended, so that the task need not wait for it. */
  async #stop({ taskId, token }: Claim): Promise<void> {
    const { tasks, runners } = this.#parts;
    if (!(await runners.stop({ taskId, token }))) return;
    this.guard(taskId, () => {
      const task = tasks.getLean(taskId);
      const transition = task && stopped(task, token, Date.now());
      if (transition) this.apply(transition);
      else tasks.recordStopped(taskId, token);
    });
  }

  /** Ticks may wait for this run to end. If the call does not arrive, the scheduler finds out a minute later. */
  async #tellScheduler(taskId: string): Promise<void> {
    await schedulerOf(this.#env)
      .runEnded(taskId)
      .catch(() => undefined);
  }

  inputsFor(task: TaskRow): RuleInputs {
    return {
      nowMs: Date.now(),
      random: Math.random(),
      retry: findTaskType(task.type)?.retry ?? DEFAULT_RETRY,
      retentionMs: this.retentionMs,
    };
  }

  /** How long a task is kept after it has ended. */
  get retentionMs(): RuleInputs["retentionMs"] {
    return readTaskSettings(this.#env).retentionMs;
  }

  /** One callback per end of a task: a task that is retried by hand can end more than once. */
  #insertCallback(
    {
      id: taskId,
      events,
      finished_at_ms,
      trace,
    }: Pick<TaskRow, "id" | "events" | "finished_at_ms" | "trace">,
    url: string,
    nowMs: number,
  ): void {
    const finishedAt = new Date(finished_at_ms ?? nowMs).toISOString();
    const fields = {
      id: taskIdOfKey(this.#shard, `callback:${taskId}:${events}`),
      type: CALLBACK_TYPE,
      input: JSON.stringify({ taskId, finishedAt, url }),
      callbackUrl: null,
      trace,
    };
    this.#parts.tasks.insert(fields, submit(0, nowMs, null, nowMs, { pool: "callback" }), nowMs);
  }

  get #shard(): string {
    const name = this.#ctx.id.name;
    if (name === undefined) throw new Error("A TaskLedger must be reached by name: the name is its shard.");
    return name;
  }
}
