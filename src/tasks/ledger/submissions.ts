/**
 * How tasks come into the ledger: what becomes of each is decided, it is written, and if it may start at once, its first claim
 * is given to whoever submits it. All tasks of a submission are written, or none.
 */
import { concurrencyKeyIfAny } from "../types/concurrency-key.ts";
import type { Claim, NewTask, Placed } from "./claim.ts";
import { type Accepted, type Conflict, decideAll } from "./guard-rules.ts";
import { rankOf } from "./rank.ts";
import { FIRST_TOKEN, replace, submit } from "./rules.ts";
import type { LedgerParts, Transitions } from "./transitions.ts";

/** What was written of a task: its claim, if there is one, and when the ledger must act on it. */
interface Inserted {
  claim: Claim | null;
  dueAtMs: number;
  isNew: boolean;
}

export class Submissions {
  readonly #storage: DurableObjectStorage;
  readonly #parts: LedgerParts;
  readonly #transitions: Transitions;

  constructor(storage: DurableObjectStorage, parts: LedgerParts, transitions: Transitions) {
    this.#storage = storage;
    this.#parts = parts;
    this.#transitions = transitions;
  }

  /** Tasks without a guard. */
  add(tasks: readonly NewTask[], nowMs: number): (Claim | null)[] {
    const insertAll = () => tasks.map((task) => this.#insert(task, nowMs));
    // Writes of one turn are committed together anyway, and a savepoint costs a third of the whole call.
    const inserted = tasks.length === 1 ? insertAll() : this.#storage.transactionSync(insertAll);
    this.#parts.alarm.wakeAt(Math.min(...inserted.map(({ dueAtMs }) => dueAtMs)));
    return inserted.map(({ claim }) => claim);
  }

  /** Tasks some of which have a guard: what became of each, or why none is written. */
  addGuarded(tasks: readonly NewTask[], nowMs: number): Placed[] | Conflict {
    const { tasks: table, guards } = this.#parts;
    const existing = {
      exists: (id: string) => table.getLean(id) !== undefined,
      holderOf: (key: string) => guards.holderOf(key),
    };
    const decisions = decideAll(tasks, existing, nowMs);
    if (!Array.isArray(decisions)) return decisions;
    return this.#storage.transactionSync(() =>
      tasks.flatMap((task, i) => {
        const decision = decisions[i];
        return decision ? [this.#place(task, decision, nowMs)] : [];
      }),
    );
  }

  #place(task: NewTask, decision: Accepted, nowMs: number): Placed {
    const { guard } = task;
    const { tasks, guards, alarm } = this.#parts;
    if (decision.is === "debounced") {
      guards.debounce(decision.id, task, decision.runAtMs, nowMs);
      alarm.wakeAt(decision.runAtMs);
    }
    if (decision.is !== "new") return { id: decision.id, claim: null, is: decision.is };
    const { replaces, runAtMs = task.runAtMs } = decision;
    const replaced = replaces === undefined ? undefined : tasks.getLean(replaces);
    if (replaced) this.#transitions.apply(replace(replaced, task.id, this.#transitions.inputsFor(replaced)));
    const { claim, dueAtMs, isNew } = this.#insert({ ...task, runAtMs }, nowMs);
    if (guard && isNew) guards.give(guard, task.id);
    alarm.wakeAt(dueAtMs);
    return { id: task.id, claim, ...(replaced ? { is: "replaced", replaces: replaced.id } : { is: "new" }) };
  }

  /** A task that exists stays as it is; its first claim is given to its claimant again. */
  #insert(
    { lane, priority, runAtMs, lifetimeMs = 0, pool = "new", force = false, ...given }: NewTask,
    nowMs: number,
  ): Inserted {
    const { tasks, dispatch } = this.#parts;
    const { type } = given;
    const key = concurrencyKeyIfAny(type, given.input);
    const fields = { ...given, concurrencyKey: key };
    const starting = { type, key, rankMs: rankOf(priority, nowMs), passesPause: force };
    const canStart = lane !== null && dispatch.canStartNow(starting, nowMs);
    const begin = { lifetimeMs, pool, force };
    const transition = submit(priority, runAtMs, canStart ? lane : null, nowMs, begin);
    const { status, due_at_ms } = transition.task;
    const isNew = tasks.insert(fields, transition, nowMs);
    if (isNew && status === "running") dispatch.noteBegun(type, 1, nowMs);
    const isOwn = isNew ? status === "running" : tasks.renewFirstClaim(fields, nowMs + lifetimeMs);
    const claim = isOwn ? { taskId: fields.id, token: FIRST_TOKEN } : null;
    return { claim, dueAtMs: isNew ? (due_at_ms ?? nowMs) : Number.POSITIVE_INFINITY, isNew };
  }
}
