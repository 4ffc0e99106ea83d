/**
 * The scheduler: every schedule, in SQLite, in one Durable Object, whose alarm fires at the next tick.
 *
 * A tick is first taken: it is written down in the same transaction that moves its schedule on to the next tick. Then
 * it is enqueued under a key of its own, and deleted only after the ledger has it. Whatever dies in between, the tick
 * is still written down, and enqueuing it again gives the same task. So each tick that was taken has exactly one run.
 *
 * While ticks wait for a run to end, the ledger tells when it has. In case that message is lost, the alarm checks every
 * minute. A schedule that fails is logged and tried again later, without delaying the others.
 */
import { DurableObject } from "cloudflare:workers";
import { Feed } from "../../kernel/feed.ts";
import { KeptTally } from "../../kernel/kept-tally.ts";
import { describeError, errorFields, log } from "../../kernel/log.ts";
import { Registration } from "../../kernel/object-registry.ts";
import { markRepeatable } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { migrate } from "../../kernel/schema.ts";
import type { Figures } from "../../kernel/tally.ts";
import { Alarm } from "../ledger/alarm.ts";
import { isFinal } from "../ledger/task-state.ts";
import { enqueueOnce, getTask } from "../run/submit.ts";
import { guardMembersIn, toGuard } from "../types/guards.ts";
import { findTaskType, unregisteredTypeError } from "../types/registry.ts";
import { compareDeclared, type Preconditions, refusalOf } from "./definition.ts";
import { declaredSchedules, MAX_SCHEDULES, type ScheduleSpec } from "./registry.ts";
import { decideTick, hasRoom, runKey } from "./rules.ts";
import { type After, ScheduleTable } from "./schedule-table.ts";
import { type CountedRow, MIGRATIONS, runsOf, timingOf } from "./schema.ts";

/** What became of a change: the schedule, and whether it is new; or why nothing has changed. */
type Put = { row: CountedRow; isNew: boolean } | "full" | "declared" | "precondition-failed";
/** What became of a run by hand: its task, null while it waits for the previous run; or why it was not taken. */
type StartedByHand = { taskId: string | null } | { busyWith: string | null } | "missing" | "key-held";

/** All the calls that a scheduler makes to the ledger, in one object, so that a test can replace them. */
export const runs = { enqueueOnce, getTask };

/** A run whose unique key is held is dropped. If that is a tick, there is nobody to be told. */
function nullIfHeld(error: unknown): null {
  if (error instanceof Problem && error.kind === "conflict") return null;
  throw error;
}

/** How often a schedule is checked while ticks wait for the previous run. */
const WAITING_POLL_MS = 60_000;
/** The delay after a failure: short enough for two more tries before a tick counts as missed. */
const FAILURE_RETRY_MS = 25_000;
/** How many schedules are processed concurrently. */
const BATCH_SIZE = 25;
/** How many one alarm processes: each costs up to two calls. If more are due, another alarm follows at once. */
const MAX_PER_ALARM = 200;

export class Scheduler extends DurableObject<Env> {
  readonly #table = new ScheduleTable(this.ctx.storage);
  readonly #alarm = new Alarm(this.ctx, new Registration(this.ctx, this.env, "SCHEDULER"));
  /** The runs that have ended while the alarm is at work: it may have found them active before. */
  readonly #endedRuns = new Set<string>();
  /** The latest processing of each schedule that is under way. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #tally = new KeptTally(this.ctx.storage);
  /** By their ids alone: with their inputs, schedules that run each minute would be many bytes. */
  readonly #feed = new Feed("schedules", (id) => this.get(id)?.id);

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    const start = async () => {
      await this.#alarm.load(Date.now());
      this.#sync();
    };
    ctx.waitUntil(ctx.blockConcurrencyWhile(start));
  }

  /** Stores a schedule that has been checked. Repeating the call is harmless. "full" if there are too many. */
  create(spec: ScheduleSpec): CountedRow | "full" {
    const before = this.get(spec.id);
    if (before) return before;
    if (this.#table.count() >= MAX_SCHEDULES) return "full";
    const row = this.#table.put(spec, false);
    this.#feed.notify(row.id);
    this.#setAlarm();
    return row;
  }

  /** As `create`. A scheduler of an earlier version lacks it, and would drop the follow-ups in silence. */
  createWithFollowUps(spec: ScheduleSpec): CountedRow | "full" {
    return this.create(spec);
  }

  /** As `create`. A scheduler of an earlier version lacks it, and would run what is paused. */
  createPaused(spec: ScheduleSpec): CountedRow | "full" {
    return this.create(spec);
  }

  /** As `create`, for one with tags or a guard, which a scheduler of an earlier version would drop. */
  createGuarded(spec: ScheduleSpec): CountedRow | "full" {
    return this.create(spec);
  }

  /** Creates or changes a schedule that has been checked. Repeating the call is harmless, unless it may only create. */
  put(spec: ScheduleSpec, preconditions: Preconditions): Put {
    const before = this.get(spec.id);
    const refusal = refusalOf(before, spec, preconditions);
    if (refusal) return refusal;
    if (!before && this.#table.count() >= MAX_SCHEDULES) return "full";
    const row = this.#table.put(spec, false);
    this.#feed.notify(row.id);
    this.#setAlarm();
    return { row, isNew: !before };
  }

  /** All, in order of creation. */
  list(): CountedRow[] {
    return this.#table.list({ createdAtMs: -1, id: "" }, MAX_SCHEDULES);
  }

  /** At most `limit`, in order of creation. */
  listPage(after: After, limit: number): CountedRow[] {
    return this.#table.list(after, limit);
  }

  get(id: string): CountedRow | undefined {
    return this.#table.get(id);
  }

  /** Deletes a schedule with its waiting ticks. A run that has been enqueued goes on. */
  remove(id: string): "removed" | "missing" | "declared" {
    const row = this.get(id);
    if (!row) return "missing";
    if (row.is_declared === 1) return "declared";
    this.#table.delete(id);
    this.#feed.notify(id);
    return "removed";
  }

  /**
   * Takes a run that was due at `atMs`, also of a schedule that is paused, and enqueues it unless it must wait. Repeating the
   * call takes no other. If the ledger does not respond, the alarm goes on trying.
   */
  async runByHand(id: string, atMs: number): Promise<StartedByHand> {
    const row = this.get(id);
    if (!row) return "missing";
    if (!this.#findRun(id, atMs) && !this.#table.hasTick(id, atMs)) {
      const isBusy = await this.#isActive(row.last_task_id);
      const now = this.get(id);
      if (!now) return "missing";
      const state = { ...now, isBusy: isBusy || now.last_task_id !== row.last_task_id };
      if (!hasRoom(state)) return { busyWith: now.last_task_id };
      this.#table.takeByHand(id, atMs);
      this.#setAlarm();
      await this.#tryProcess(id, Date.now());
      this.#setAlarm();
    }
    const taskId = this.#findRun(id, atMs);
    if (taskId !== undefined) return { taskId };
    if (this.#table.hasTick(id, atMs)) return { taskId: null };
    return this.get(id) ? "key-held" : "missing";
  }

  /** The task of the run that was due at `atMs`, among the latest. */
  #findRun(id: string, atMs: number): string | undefined {
    const row = this.get(id);
    return row && runsOf(row).find(([dueAtMs]) => dueAtMs === atMs)?.[1];
  }

  /** For the watchdog: sets the alarm if it was lost. Returns by how many ms it is overdue; 0 if it is not. */
  async rearm(): Promise<number> {
    const dueAtMs = this.#table.dueAtMs();
    if (dueAtMs === null) return 0;
    await this.#alarm.load(Date.now());
    this.#setAlarm();
    const lateMs = Date.now() - dueAtMs;
    return lateMs > FAILURE_RETRY_MS ? lateMs : 0;
  }

  /** Which schedules are new, have changed, have run, or are gone: see `Feed`. */
  watchAll(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#feed.watch(caller);
  }

  /** For `GET /metrics`. */
  figures(): Figures {
    const nowMs = Date.now();
    const overdue = Math.max(0, nowMs - (this.#table.dueAtMs() ?? nowMs)) / 1000;
    return { counts: this.#tally.read(nowMs), gauges: { ...this.#table.figures(), overdue } };
  }

  /** For the ledger: the run of a tick has ended. If further ticks of its schedule wait for that, the next one runs. */
  runEnded(taskId: string): void {
    const nowMs = Date.now();
    this.#endedRuns.add(taskId);
    if (this.#table.runEnded(taskId, nowMs)) this.#alarm.wakeAt(nowMs);
  }

  /**
   * Processes every schedule that is due. Never throws: the runtime stops retrying an alarm that throws too often.
   */
  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    // The same time for all: being processed after others must not make a tick late.
    const nowMs = Date.now();
    if (info) this.#tally.addDuration("alarm", nowMs - info.scheduledTime);
    this.#alarm.reset();
    this.#endedRuns.clear();
    try {
      const due = this.#table.due(nowMs, MAX_PER_ALARM);
      for (let i = 0; i < due.length; i += BATCH_SIZE) {
        await Promise.all(due.slice(i, i + BATCH_SIZE).map(async (id) => this.#tryProcess(id, nowMs)));
      }
      this.#setAlarm();
    } catch (error) {
      log("error", "the scheduler's alarm failed and will be tried again", errorFields(error));
      this.#alarm.wakeAt(nowMs + FAILURE_RETRY_MS);
    }
  }

  /** Processes a schedule after whoever is at it: two at once could each begin a run. Never throws. */
  async #tryProcess(id: string, nowMs: number): Promise<void> {
    const before = this.#turns.get(id);
    const turn = (async () => {
      await before;
      await this.#processOrRetry(id, nowMs);
    })();
    this.#turns.set(id, turn);
    await turn;
    if (this.#turns.get(id) === turn) this.#turns.delete(id);
  }

  async #processOrRetry(id: string, nowMs: number): Promise<void> {
    try {
      await this.#process(id, nowMs);
    } catch (error) {
      log("error", "a schedule could not be run and will be tried again", {
        scheduleId: id,
        ...errorFields(error),
      });
      this.#table.failed(id, nowMs + FAILURE_RETRY_MS, JSON.stringify(describeError(error)));
    }
    this.#feed.notify(id);
  }

  async #process(id: string, nowMs: number): Promise<void> {
    const lastTaskId = this.get(id)?.last_task_id ?? null;
    const wasBusy = await this.#isActive(lastTaskId);
    // A run by hand may have been enqueued meanwhile.
    const isBusy = wasBusy || this.get(id)?.last_task_id !== lastTaskId;
    this.#decideTicks(id, isBusy, nowMs);
    if (!isBusy) await this.#enqueue(id);
    const hasEnded = this.#endedRuns.has(this.get(id)?.last_task_id ?? "");
    this.#table.processed(id, hasEnded ? nowMs : nowMs + WAITING_POLL_MS);
  }

  /** Decides the ticks up to now, and stores the decision, which is final. */
  #decideTicks(id: string, isBusy: boolean, nowMs: number): void {
    const row = this.get(id);
    if (!row) return;
    const { overlap, missed, next_at_ms: nextAtMs, waiting } = row;
    const decision = decideTick({ ...timingOf(row), overlap, missed, nextAtMs, waiting, isBusy }, nowMs);
    if (decision.nextAtMs !== nextAtMs) this.#table.decide(id, decision);
  }

  /** Enqueues the oldest waiting tick, if there is one. */
  async #enqueue(id: string): Promise<void> {
    const row = this.get(id);
    const tickAtMs = this.#table.oldestTick(id);
    if (!row || tickAtMs === undefined) return;
    const type = findTaskType(row.type);
    if (!type) throw unregisteredTypeError(row.type);
    const key = runKey(id, tickAtMs);
    const { guard, tags = null, then_tasks: then = null } = row;
    const more = {
      then,
      tags,
      scheduleId: id,
      guard: guard ? toGuard(row.type, guardMembersIn(guard)) : undefined,
    };
    const taskId = await runs.enqueueOnce(this.env, type, JSON.parse(row.input), key, more).catch(nullIfHeld);
    if (taskId === null) this.#table.skipped(id, tickAtMs);
    else this.#table.enqueued(id, tickAtMs, taskId);
  }

  async #isActive(taskId: string | null): Promise<boolean> {
    const task = taskId === null ? undefined : await runs.getTask(this.env, taskId);
    return task !== undefined && !isFinal(task.status);
  }

  /** Makes the stored declared schedules match the code: adds, changes and removes them. */
  #sync(): void {
    try {
      const { changed, gone } = compareDeclared(this.list(), declaredSchedules());
      for (const id of gone) this.#table.delete(id);
      for (const spec of changed) this.#table.put(spec, true);
      if (changed.length > 0) this.#setAlarm();
    } catch (error) {
      log("error", "the declared schedules could not be stored", errorFields(error));
    }
  }

  #setAlarm(): void {
    const dueAtMs = this.#table.dueAtMs();
    if (dueAtMs !== null) this.#alarm.wakeAt(Math.max(dueAtMs, Date.now()));
  }
}

markRepeatable(
  Scheduler,
  "create",
  "createWithFollowUps",
  "createPaused",
  "createGuarded",
  "list",
  "listPage",
  "get",
  "runByHand",
  "rearm",
  "runEnded",
  "figures",
);
