/**
 * What operators have changed of task types: pauses and limits, as one document that each shard keeps whole.
 *
 * One shard has the say. It numbers each change, keeps it, and sends the document to every other shard; what arrives late or
 * twice is told by its number. It keeps which shards have the latest. A shard that was away learns it when the change is
 * repeated, or when the watchdog comes; a new one asks before it does anything.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { findTaskType } from "../types/registry.ts";
import { type Change, type Limits, limitsAt, type Patch, patched } from "./limits.ts";
import { readTaskSettings } from "./settings.ts";
import { ledgerOn, shardsInUse } from "./shards.ts";
import { isShard, shardsTaking } from "./task-id.ts";

/** The shard that has the say. */
export const STEERING_SHARD = "s0";

export interface Steering {
  /** Of the latest change; 0 if there was none. */
  version: number;
  /** By the name of the type. */
  changes: Record<string, Change>;
}

/** `pending`: the shards that may not have the latest change. */
export interface SteeringStatus {
  steering: Steering;
  pending: string[];
}

const KEY = "steering";
const KNOWN_KEY = "steering-known";
/** How long a shard is waited for that is to learn a change. */
const SPREAD_DEADLINE_MS = 4_000;
/** Short: a new shard that gets no answer does without it. */
const LEARN_DEADLINE_MS = 2_000;

export class SteeringKeeper {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  /** Called when this shard has learned a change. */
  readonly #onChange: () => void;
  #steering: Steering | undefined;

  constructor(ctx: DurableObjectState, env: Env, onChange: () => void) {
    this.#ctx = ctx;
    this.#env = env;
    this.#onChange = onChange;
    this.#steering = ctx.storage.kv.get<Steering>(KEY);
  }

  get steering(): Steering {
    return this.#steering ?? { version: 0, changes: {} };
  }

  /** What is in force here. */
  limitsOf(name: string): Limits {
    const type = findTaskType(name);
    return limitsAt(() => this.#place(), type, this.steering.changes[name]);
  }

  /** For a shard that has never heard of any change: asks. If there is no answer, it asks again at its next start. */
  async learn(): Promise<void> {
    const { name } = this.#ctx.id;
    if (this.#steering || name === undefined || name === STEERING_SHARD || !isShard(name)) return;
    try {
      const ask = async () => ledgerOn(this.#env, STEERING_SHARD).readSteering();
      this.adopt(await callObject(ask, { pausesMs: [], deadlineMs: LEARN_DEADLINE_MS }));
    } catch (error) {
      log("warn", "a new shard does not know which task types are paused", {
        shard: name,
        ...errorFields(error),
      });
    }
  }

  /** Takes over a document, unless it is older than the one that is here. */
  adopt(steering: Steering): void {
    if (this.#steering && steering.version <= this.#steering.version) return;
    this.#ctx.storage.kv.put(KEY, steering);
    this.#steering = steering;
    if (steering.version > 0) this.#onChange();
  }

  /** On the shard that has the say: makes a change, and sends it to the others. Can be repeated without harm. */
  async change(type: string, patch: Patch, nowMs: number): Promise<SteeringStatus> {
    const { version, changes } = this.steering;
    const { [type]: before, ...others } = changes;
    const after = patched(before, patch, nowMs);
    if (!isSame(before, after))
      this.adopt({ version: version + 1, changes: { ...others, ...(after && { [type]: after }) } });
    return this.spread();
  }

  /** On the shard that has the say: which shards may not have the latest change. */
  async status(): Promise<SteeringStatus> {
    return { steering: this.steering, pending: await this.#pending() };
  }

  /** On the shard that has the say: sends the document to the shards that may not have it. */
  async spread(): Promise<SteeringStatus> {
    const { steering } = this;
    const shards = await this.#pending();
    const results = await Promise.allSettled(shards.map(async (shard) => this.#send(shard, steering)));
    const reached = shards.filter((_, i) => results[i]?.status === "fulfilled");
    if (reached.length > 0) {
      const known = this.#known();
      for (const shard of reached) known[shard] = Math.max(known[shard] ?? 0, steering.version);
      this.#ctx.storage.kv.put(KNOWN_KEY, known);
    }
    return { steering, pending: shards.filter((shard) => !reached.includes(shard)) };
  }

  async #send(shard: string, steering: Steering): Promise<void> {
    try {
      await callObject(async () => ledgerOn(this.#env, shard).adoptSteering(steering), {
        deadlineMs: SPREAD_DEADLINE_MS,
      });
    } catch (error) {
      log("error", "a shard did not learn a change of a task type", { shard, ...errorFields(error) });
      throw error;
    }
  }

  async #pending(): Promise<string[]> {
    const { version } = this.steering;
    if (version === 0) return [];
    const known = this.#known();
    const shards = await shardsInUse(this.#env);
    return shards.filter((shard) => shard !== STEERING_SHARD && (known[shard] ?? 0) < version);
  }

  #known(): Record<string, number> {
    return this.#ctx.storage.kv.get<Record<string, number>>(KNOWN_KEY) ?? {};
  }

  /** Among the shards that take tasks. One that no longer does has a part like any other, for those it still keeps. */
  #place() {
    const taking = shardsTaking(readTaskSettings(this.#env).regions);
    return { index: Math.max(0, taking.indexOf(this.#ctx.id.name ?? "")), shards: taking.length };
  }
}

/** Whether two changes differ in nothing but their time. */
const isSame = (a: Change | undefined, b: Change | undefined): boolean => contentOf(a) === contentOf(b);

const contentOf = (change: Change | undefined): string =>
  JSON.stringify([change?.paused, change?.concurrency, change?.rate?.perSecond, change?.rate?.burst]);
