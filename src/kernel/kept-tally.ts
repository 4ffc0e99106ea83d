/**
 * The tally of an object, which outlives the object's restarts and costs nothing as long as nobody reads it.
 *
 * It is counted in memory. While it is read from time to time, what was counted is written a moment later, as one row
 * however much that was: an object that is idle is soon evicted, and would forget it. So a crash, or a deploy, loses what
 * was counted in the last `SAVE_MS`. When it has not been read for `FORGOTTEN_MS`, nothing more is written. Then it goes
 * on where it was, with the next read.
 */
import { durationKeys, type Tally } from "./tally.ts";

/** How long after it is counted something is written. */
const SAVE_MS = 5_000;
/** Nobody reads it any longer. */
const FORGOTTEN_MS = 15 * 60_000;
/** That it is still read is written this often, if nothing else is. */
const RENEWAL_MS = 5 * 60_000;
const KEY = "tally";

interface Kept {
  counts: Record<string, number>;
  readAtMs: number;
  /** Whoever counts by looking at rows has counted those up to here. */
  countedUntilMs: number;
}

const NEVER: Kept = { counts: {}, readAtMs: Number.NEGATIVE_INFINITY, countedUntilMs: 0 };

export class KeptTally {
  readonly #storage: Pick<DurableObjectStorage, "kv">;
  /** As it is in the storage. */
  #kept: Kept | undefined;
  /** What was counted since. */
  #fresh: Record<string, number> = {};
  #readAtMs: number | undefined;
  #countedUntilMs: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(storage: Pick<DurableObjectStorage, "kv">) {
    this.#storage = storage;
  }

  add(key: string, by = 1): void {
    this.#fresh[key] = (this.#fresh[key] ?? 0) + by;
    if (this.isReadAt(Date.now())) this.#saveSoon();
  }

  /** Counts a duration in a histogram. */
  addDuration(name: string, ms: number): void {
    for (const [key, by] of durationKeys(name, ms)) this.add(key, by);
  }

  isReadAt(nowMs: number): boolean {
    return nowMs - this.#lastReadAtMs < FORGOTTEN_MS;
  }

  get countedUntilMs(): number {
    return this.#countedUntilMs ?? this.#load().countedUntilMs;
  }

  /** Is kept together with what was counted up to then. */
  set countedUntilMs(untilMs: number) {
    this.#countedUntilMs = untilMs;
  }

  /** All that was counted. From then on it is kept. */
  read(nowMs: number): Tally {
    const kept = this.#load();
    this.#readAtMs = nowMs;
    if (nowMs - kept.readAtMs >= RENEWAL_MS) this.save();
    else if (Object.keys(this.#fresh).length > 0) this.#saveSoon();
    return this.#sum();
  }

  /** Writes what was counted. */
  save(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#kept = {
      counts: this.#sum(),
      readAtMs: this.#lastReadAtMs,
      countedUntilMs: this.countedUntilMs,
    };
    this.#fresh = {};
    this.#storage.kv.put(KEY, this.#kept);
  }

  #saveSoon(): void {
    this.#timer ??= setTimeout(() => this.save(), SAVE_MS);
  }

  get #lastReadAtMs(): number {
    return this.#readAtMs ?? this.#load().readAtMs;
  }

  #sum(): Record<string, number> {
    const sum = { ...this.#load().counts };
    for (const [key, value] of Object.entries(this.#fresh)) sum[key] = (sum[key] ?? 0) + value;
    return sum;
  }

  #load(): Kept {
    this.#kept ??= this.#storage.kv.get<Kept>(KEY) ?? NEVER;
    return this.#kept;
  }
}
