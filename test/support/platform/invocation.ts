/**
 * One invocation of the Worker, an object or an entrypoint, and its account. Whatever runs in it, or follows from it, is
 * charged to it: its timers, what it hands to `waitUntil`, and what it still streams.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { platform } from "./platform.ts";
import { NO_USAGE, type Usage } from "./usage.ts";

const current = new AsyncLocalStorage<Invocation>();
/** Set while a subrequest is made. A test may put a binding of its own in front of a simulated one. */
const isMaking = new AsyncLocalStorage<boolean>();

export class Invocation {
  readonly usage: Usage = { ...NO_USAGE };
  /** The object that runs it. Its calls of its own methods are no calls. */
  readonly object: object | undefined;
  #connections = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(object?: object) {
    this.object = object;
  }

  /** Counts a call, and refuses it beyond the limit, with the platform's own words. */
  spend(kind: "external" | "internal"): void {
    count({ [kind]: 1 });
    if (this.usage[kind] > platform.limits[kind])
      throw new Error("Too many subrequests by single Worker invocation.");
  }

  /** Waits for a free connection, which `call` takes until it has the head of its response. */
  async connect<T>(call: () => Promise<T>): Promise<T> {
    while (this.#connections >= platform.limits.connections)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#connections++;
    try {
      return await call();
    } finally {
      this.#connections--;
      this.#waiting.shift()?.();
    }
  }
}

/** The invocation that this code runs in; undefined in the tests' own code. */
export const currentInvocation = (): Invocation | undefined => current.getStore();

/** Counts what the current invocation uses. */
export function count(usage: Partial<Usage>): void {
  platform.count(usage);
  const invocation = currentInvocation();
  if (invocation)
    for (const name of Object.keys(usage) as (keyof Usage)[]) invocation.usage[name] += usage[name] ?? 0;
}

/** Runs `action` as an invocation. `object`: the object that runs it, if one does. */
export function runInvocation<T>(object: object | undefined, usage: Partial<Usage>, action: () => T): T {
  return current.run(new Invocation(object), () => {
    count({ ...usage, logEvents: 1 });
    return isMaking.run(false, action);
  });
}

/** Makes a call that costs a subrequest and takes a connection. Code of the tests is not limited. */
export async function subrequest<T>(
  kind: "external" | "internal",
  call: () => Promise<T>,
  takesConnection = true,
): Promise<T> {
  const invocation = currentInvocation();
  if (!invocation || isMaking.getStore()) return call();
  invocation.spend(kind);
  const make = async () => isMaking.run(true, call);
  return takesConnection ? invocation.connect(make) : make();
}
