/**
 * The platform that the tests run on: what production does, and the local runtime does not.
 *
 * The Worker runs in the same isolate, so a test sets here what the platform is like, and reads what was used. Each
 * invocation has an account of its own (invocation.ts), which enforces the limits.
 */
import { type Fault, Faults } from "./faults.ts";
import { addUsage, NO_USAGE, type Usage } from "./usage.ts";

/** The limits of one invocation. */
export interface Limits {
  /** Calls to the internet, and calls to R2, objects and caches. */
  external: number;
  internal: number;
  /** How many calls may wait for the head of their response at once. Any more wait until one has it. */
  connections: number;
  /** Whether a call to an object takes one of the connections until it returns. The platform does not say. */
  rpcTakesConnection: boolean;
  /** Bytes that are on their way to R2 from memory, in the whole isolate. */
  uploadBytes: number;
}

export const PAID: Limits = {
  external: 10_000,
  internal: 10_000,
  connections: 6,
  rpcTakesConnection: true,
  uploadBytes: 100 * 1024 * 1024,
};

export const FREE: Limits = { ...PAID, external: 50, internal: 1_000 };

/** An origin on the internet, for `fetch`. */
type Origin = (request: Request) => Response | Promise<Response>;

class Platform {
  limits: Limits = PAID;
  readonly faults = new Faults();
  /** As on workers.dev: the Cache API keeps nothing. */
  cacheApiWorks = true;
  /** Workers Cache is in front of the entrypoints that wrangler.toml names. */
  hasWorkersCache = false;
  /** What `fetch` finds at these origins, by scheme, host and port. It goes through Cloudflare's own cache. */
  readonly origins = new Map<string, Origin>();
  /** Compresses responses, as the edge does for a client that accepts it. */
  edgeCompresses = false;
  /** All that was used since the last reset. */
  total: Usage = { ...NO_USAGE };
  /** The bytes that are on their way to R2 now, and the most there have been at once. */
  uploadBytes = 0;
  maxUploadBytes = 0;
  /** Invocations at work since the last reset: those from before it may never end. */
  #work = { running: 0, endedAtMs: 0 };

  reset(): void {
    this.limits = PAID;
    this.faults.clear();
    this.cacheApiWorks = true;
    this.hasWorkersCache = false;
    this.origins.clear();
    this.edgeCompresses = false;
    this.total = { ...NO_USAGE };
    this.maxUploadBytes = this.uploadBytes;
    this.#work = { running: 0, endedAtMs: 0 };
  }

  count(usage: Partial<Usage>): void {
    addUsage(this.total, { ...NO_USAGE, ...usage });
  }

  /** What was used in the whole isolate while `action` ran. */
  async measure(action: () => Promise<unknown>): Promise<Usage> {
    const before = { ...this.total };
    await action();
    return addUsage({ ...this.total }, before, -1);
  }

  /** Counts a promise as work of an invocation, until it settles. */
  track(work: unknown): void {
    if (!(work instanceof Promise)) return;
    const counted = this.#work;
    counted.running++;
    const end = () => {
      counted.running--;
      counted.endedAtMs = Date.now();
    };
    work.then(end, end);
  }

  /** Resolves when no invocation is at work, or after two seconds: some never end. */
  async untilQuiet(): Promise<void> {
    for (let n = 0; n < 100 && this.#work.running > 0; n++) await scheduler.wait(20);
  }

  /** Whether no invocation has been at work for a moment, in which an alarm that is due would have begun. */
  get isIdle(): boolean {
    return this.#work.running === 0 && Date.now() - this.#work.endedAtMs > 300;
  }

  addFault(fault: Fault): void {
    this.faults.add(fault);
  }
}

export const platform = new Platform();
