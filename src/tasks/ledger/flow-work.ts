/**
 * What a ledger does for flows: it starts the children of its tasks, tells parents and children what they must hear, and
 * acts on what it is told. Parents and children may be on other shards.
 *
 * Whatever one task must hear of another is a message, written in the transaction that decides it, and sent until it has
 * been received (`outbox.ts`). It may arrive twice and in any order, so each says for which life of the parent it is.
 */
import { callObject } from "../../kernel/objects.ts";
import { concurrencyKeyIfAny } from "../types/concurrency-key.ts";
import { MAX_DURATION_MS } from "../types/duration.ts";
import type { NewTask } from "./claim.ts";
import type { FlowMessage, ParentLink } from "./flow-messages.ts";
import { onParentRetried, refusal, type WaitMode } from "./flow-rules.ts";
import { type ChildOutcome, REMOVED } from "./flows.ts";
import { submit } from "./rules.ts";
import type { TaskRow } from "./schema.ts";
import { ledgerOn } from "./shards.ts";
import { shardOf } from "./task-id.ts";
import type { LedgerParts, Transitions } from "./transitions.ts";
import { isParkedBy } from "./wait-rules.ts";

/** How many tasks are put right at a start of the ledger. */
const BATCH = 200;

/** What a run learns when it starts children. */
export type ChildrenStarted = { ids: string[] } | { refused: string } | { isCancelled: true };

/**
 * What a run learns when it waits for children: of `all`, the first that has not succeeded; how they have ended, from the
 * first on; which is no child of the task; or that it waits.
 */
export type ChildrenReply =
  | { failure: ChildOutcome }
  | { outcomes: ChildOutcome[] }
  | { stranger: string }
  | { untilMs: number };

export class FlowWork {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #parts: LedgerParts;
  readonly #transitions: Transitions;

  constructor(ctx: DurableObjectState, env: Env, parts: LedgerParts, transitions: Transitions) {
    this.#ctx = ctx;
    this.#env = env;
    this.#parts = parts;
    this.#transitions = transitions;
  }

  /** A run starts children, once under each key. All are written or none; those of other shards are on their way then. */
  start(parent: TaskRow, key: string, children: readonly NewTask[], nowMs: number): ChildrenStarted {
    const { tasks, flows, alarm } = this.#parts;
    const recorded = tasks.stepResult(parent.id, key);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is written below
    if (recorded !== undefined) return { ids: JSON.parse(recorded) as string[] };
    if (parent.status === "cancelling") return { isCancelled: true };
    const depth = flows.depthOf(parent.id);
    const refused = refusal(flows.countChildren(parent.id), children.length, depth);
    if (refused !== undefined) return { refused };
    const link = { parent_id: parent.id, depth: depth + 1, life: 0 };
    const ids = children.map(({ id }) => id);
    this.#ctx.storage.transactionSync(() => {
      for (const task of children) {
        flows.addChild(parent.id, task.id, task.type);
        if (this.#isHere(task.id)) this.#insert(task, link, nowMs);
        else flows.post({ kind: "start", childId: task.id, task, link }, nowMs);
      }
      tasks.recordStep(parent, key, JSON.stringify(ids), nowMs);
    });
    alarm.wakeAt(nowMs);
    return { ids };
  }

  /** A run waits for children of its task. */
  wait(task: TaskRow, key: string, ids: readonly string[], mode: WaitMode, nowMs: number): ChildrenReply {
    const { flows, waits } = this.#parts;
    const [stranger] = flows.strangers(task.id, ids);
    if (stranger !== undefined) return { stranger };
    if (!flows.isReady(task.id, ids, mode)) {
      const untilMs = nowMs + MAX_DURATION_MS;
      waits.addForTasks(task.id, key, ids, mode, untilMs);
      return { untilMs };
    }
    waits.drop(task.id, key);
    const failure = mode === "all" ? flows.firstFailure(task.id, ids) : undefined;
    return failure ? { failure } : { outcomes: flows.outcomes(task.id, ids) };
  }

  /** Sends a message to the shard that it is for. */
  async deliver(message: FlowMessage): Promise<unknown> {
    const { flows } = this.#parts;
    // What has not arrived can neither be cancelled nor retried.
    if (message.kind !== "start" && message.kind !== "ended" && flows.isOnItsWay(message.childId))
      return "later";
    const shard = shardOf(message.kind === "ended" ? message.parentId : message.childId);
    if (shard === undefined) return undefined;
    const received =
      shard === this.#shard
        ? this.receive(message)
        : await callObject(async () => ledgerOn(this.#env, shard).hearFlow(message));
    if (received === "removed" && message.kind === "retry")
      this.#noteEnd({ ...message, kind: "ended", end: REMOVED });
    return received;
  }

  /** Acts on a message for a task of this shard. */
  receive(message: FlowMessage): "received" | "later" | "removed" {
    switch (message.kind) {
      case "start":
        this.#ctx.storage.transactionSync(() => this.#insert(message.task, message.link, Date.now()));
        this.#parts.alarm.wakeAt(Date.now());
        return "received";
      case "ended":
        this.#noteEnd(message);
        return "received";
      case "cancel":
        return this.#cancel(message);
      case "retry":
        return this.#retry(message);
    }
  }

  /** What an earlier version has not done, after a rollback: the alarm must follow. */
  recover(): void {
    const { tasks, flows } = this.#parts;
    for (const id of flows.untold(BATCH))
      this.#transitions.guard(id, () =>
        this.#ctx.storage.transactionSync(() => {
          const task = tasks.get(id);
          const news = task ? flows.takeNews(task) : flows.takeGone(id);
          if (news) flows.post(news, Date.now());
        }),
      );
    for (const id of flows.abandoning(BATCH)) {
      const task = tasks.getLean(id);
      if (task) this.#transitions.guard(id, () => this.#transitions.tellFlow(task));
    }
  }

  #noteEnd({ parentId, childId, life, end }: Extract<FlowMessage, { kind: "ended" }>): void {
    const { tasks, flows, waits } = this.#parts;
    this.#ctx.storage.transactionSync(() => {
      const over = flows.noteEnd(parentId, childId, life, end);
      for (const { key } of over) waits.drop(parentId, key);
      const parent = tasks.getLean(parentId);
      if (!parent || over.length === 0) return;
      if (over.some(({ parked_token }) => isParkedBy(parent, parked_token))) this.#transitions.wake(parentId);
      else tasks.touch(parentId);
    });
  }

  /** A cancel stands for the retry of the same life: if that comes later, it finds that there is nothing to do. */
  #cancel({ childId, life }: Extract<FlowMessage, { kind: "cancel" }>): "received" {
    const { tasks, flows, alarm } = this.#parts;
    const task = tasks.get(childId);
    const before = flows.lifeOf(childId) ?? 0;
    // Its parent has begun another life since.
    if (!task || life < before) return "received";
    this.#ctx.storage.transactionSync(() => {
      if (life > before) flows.enterLife(childId, life);
      this.#transitions.cancel(task);
      this.#tell(childId);
    });
    alarm.wakeAt(Date.now());
    return "received";
  }

  #retry({ childId, life }: Extract<FlowMessage, { kind: "retry" }>): "received" | "later" | "removed" {
    const { tasks, flows, alarm } = this.#parts;
    const task = tasks.get(childId);
    const before = flows.lifeOf(childId);
    const known = task && before !== undefined ? { status: task.status, life: before } : undefined;
    const verdict = onParentRetried(known, life);
    if (verdict === "removed" || verdict === "later") return verdict;
    if (verdict === "nothing" || !task) return "received";
    this.#ctx.storage.transactionSync(() => {
      flows.enterLife(childId, life);
      if (verdict === "retry" && this.#transitions.retry(task)) return;
      this.#tell(childId);
    });
    alarm.wakeAt(Date.now());
    return "received";
  }

  /** Tells the parent of a task that has ended, unless it has been told. */
  #tell(childId: string): void {
    const { tasks, flows } = this.#parts;
    const task = tasks.get(childId);
    const news = task && flows.takeNews(task);
    if (news) flows.post(news, Date.now());
  }

  #insert({ priority, runAtMs, lane: _lane, ...fields }: NewTask, link: ParentLink, nowMs: number): void {
    const concurrencyKey = concurrencyKeyIfAny(fields.type, fields.input);
    this.#parts.tasks.insert({ ...fields, concurrencyKey }, submit(priority, runAtMs, null, nowMs), nowMs);
    this.#parts.flows.addParent(fields.id, link);
  }

  #isHere(taskId: string): boolean {
    return shardOf(taskId) === this.#shard;
  }

  get #shard(): string | undefined {
    return this.#ctx.id.name;
  }
}
