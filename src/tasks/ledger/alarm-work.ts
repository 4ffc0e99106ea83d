/**
 * What a ledger does by itself, in its alarm: it acts on the tasks that are due, removes expired ones, and gives
 * queued tasks to runners. No alarm is set for a removal, since it can wait for the watchdog, which comes each minute, or
 * for the alarm of another task: an alarm costs a row and a request.
 *
 * The alarm awaits no work and never throws: the runtime stops retrying an alarm that throws too often. A task that
 * cannot be read is set aside, so that it holds up no other.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { OVERDUE_MS } from "./alarm.ts";
import type { Claim } from "./claim.ts";
import { claim, tick } from "./rules.ts";
import type { TaskRow } from "./schema.ts";
import type { LedgerParts, Transitions } from "./transitions.ts";

/**
 * How many due tasks one alarm handles, and how many it removes, with how many rows in all: calls wait while it is at
 * work. If there is more, another alarm follows at once.
 */
const BATCH = 200;
const REMOVAL_BATCH = 50;
export const MAX_REMOVED_ROWS = 2_000;

export class AlarmWork {
  readonly #ctx: DurableObjectState;
  readonly #parts: LedgerParts;
  readonly #transitions: Transitions;

  constructor(ctx: DurableObjectState, parts: LedgerParts, transitions: Transitions) {
    this.#ctx = ctx;
    this.#parts = parts;
    this.#transitions = transitions;
  }

  run(nowMs: number): void {
    const { queries, alarm, handovers } = this.#parts;
    alarm.suspend();
    try {
      for (const task of queries.due(nowMs, BATCH)) this.#transitions.guard(task.id, () => this.#tick(task));
      const isRemoved = this.#removeExpired(nowMs);
      for (const claimed of this.#dispatch(nowMs)) this.#ctx.waitUntil(this.#giveToRunner(claimed));
      handovers.send(nowMs);
      alarm.reset();
      this.setAlarm(nowMs);
      if (!isRemoved) alarm.wakeAt(nowMs);
    } catch (error) {
      log("error", "the ledger's alarm failed", { shard: this.#ctx.id.name, ...errorFields(error) });
      alarm.reset();
      alarm.wakeAt(nowMs + OVERDUE_MS);
    }
  }

  /** Sets the alarm for the next due task, or for now if a queued task can be dispatched. */
  setAlarm(nowMs: number): void {
    const { queries, alarm, handovers, dispatch } = this.#parts;
    for (const nextMs of [queries.nextDueAtMs(), handovers.nextDueAtMs(), dispatch.rateOpensAtMs(nowMs)])
      if (nextMs !== null) alarm.wakeAt(Math.max(nextMs, nowMs));
    if (dispatch.next(nowMs, 1).length > 0) alarm.wakeAt(nowMs);
  }

  /** Starts the follow-ups of tasks whose end an earlier version has written, after a rollback. */
  startForgotten(): void {
    const { queries, tasks } = this.#parts;
    for (const id of queries.forgotten(BATCH))
      this.#transitions.guard(id, () =>
        this.#ctx.storage.transactionSync(() =>
          this.#transitions.startFollowUps(id, tasks.get(id)?.result ?? null),
        ),
      );
  }

  /**
   * Removes what has expired, and sets the alarm again if it was lost. Returns by how many ms the ledger is overdue; 0 if it
   * is not.
   */
  async rearm(nowMs: number): Promise<number> {
    const { queries, alarm, dispatch } = this.#parts;
    const [next] = dispatch.next(nowMs, 1);
    const queuedMs = next ? dispatch.waitsSinceMs(next, nowMs) : nowMs;
    const lateMs = nowMs - Math.min(queuedMs, queries.nextDueAtMs() ?? nowMs);
    await alarm.load(nowMs);
    this.setAlarm(nowMs);
    if (!this.#removeExpired(nowMs)) alarm.wakeAt(nowMs);
    return lateMs > OVERDUE_MS ? lateMs : 0;
  }

  #tick(task: TaskRow): void {
    const transition = tick(task, this.#transitions.inputsFor(task));
    if (transition && transition !== "remove") this.#transitions.applyEnd(task, transition);
  }

  /** Returns whether nothing that has expired is left. */
  #removeExpired(nowMs: number): boolean {
    const { queries, tasks, figures } = this.#parts;
    const expired = queries.expired(nowMs, this.#transitions.retentionMs, REMOVAL_BATCH);
    figures.beforeForgetting(expired, nowMs);
    let room = MAX_REMOVED_ROWS;
    for (const task of expired) {
      if (room <= 0) return false;
      this.#transitions.guard(task.id, () => {
        if (tick(task, this.#transitions.inputsFor(task)) !== "remove") return;
        room -= this.#ctx.storage.transactionSync(() => tasks.removePart(task.id, room));
      });
    }
    return expired.length < REMOVAL_BATCH && room > 0;
  }

  /** Claims the queued tasks that there are free slots for. */
  #dispatch(nowMs: number): Claim[] {
    const { dispatch } = this.#parts;
    const claimed: Claim[] = [];
    const next = dispatch.next(nowMs);
    // Before the claims: if one fails, its turn is over too.
    dispatch.noteDispatched(next, nowMs);
    for (const task of next) {
      this.#transitions.guard(task.id, () => {
        const transition = claim(task, "long", nowMs);
        this.#transitions.apply(transition);
        claimed.push({ taskId: task.id, token: transition.task.token });
      });
    }
    return claimed;
  }

  /** Gives a claim to a runner; takes it back if no runner can be reached. */
  async #giveToRunner(claimed: Claim): Promise<void> {
    const isStarted = await this.#parts.runners.start(claimed);
    if (!isStarted) this.#transitions.report([{ ...claimed, outcome: { kind: "not-begun" } }]);
  }
}
