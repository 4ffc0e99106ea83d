/**
 * How Durable Objects are reached: the only place that gets a stub, and the only one that repeats a call to an object.
 *
 * The runtime repeats by itself what never reached an object, and what a method marked `retryable()` may run twice: up
 * to five tries within ten seconds. What is repeated here is the rest: calls that an object's restart broke. An
 * overloaded object is never called again, since that keeps it overloaded, and neither is one whose own code threw.
 * Whatever fails, the caller knows after `DEADLINE_MS`.
 */
import { retryable } from "cloudflare:durable-objects";
import { z } from "zod";
import { Problem } from "./problem.ts";
import { LOCATION_HINTS, type Region } from "./regions.ts";
import { countSubrequests, isSubrequestLimit } from "./subrequests.ts";
import { perEnv, readVariable } from "./variables.ts";

/** The objects' classes, by the names of their bindings. */
type Classes = {
  [Binding in keyof Env as Env[Binding] extends DurableObjectNamespace<infer _>
    ? Binding
    : never]: Env[Binding] extends DurableObjectNamespace<infer Class> ? Class : never;
};
type Namespaces = { [Binding in keyof Classes]: DurableObjectNamespace<Classes[Binding]> };

const JURISDICTIONS = ["eu", "us", "fedramp", "fedramp-high"] as const;

/** Where objects live. An empty variable is one that is not set. */
export const readPlacement = perEnv((env) => ({
  jurisdiction: readVariable(env, "JURISDICTION", z.enum(["", ...JURISDICTIONS]).default("")) || undefined,
  hint: readVariable(env, "LOCATION_HINT", z.enum(["", ...LOCATION_HINTS]).default("")) || undefined,
}));

/**
 * A stub. A call that fails may break it: get a fresh one for each try. If the object does not exist yet, it is created
 * in the jurisdiction of the Worker, near `hint`, else near `LOCATION_HINT`, else near here.
 */
export function objectNamed<Binding extends keyof Classes>(
  env: Env,
  binding: Binding,
  name: string,
  { hint }: { hint?: Region | undefined } = {},
): DurableObjectStub<Classes[Binding]> {
  countSubrequests({ internal: 1 });
  const placement = readPlacement(env);
  const locationHint = hint ?? placement.hint;
  const all: Namespaces = env;
  const namespace = placement.jurisdiction ? all[binding].jurisdiction(placement.jurisdiction) : all[binding];
  return namespace.getByName(name, locationHint === undefined ? {} : { locationHint });
}

/** Pauses that outlast the restart of an object: about three seconds in total. */
export const RESTART_PAUSES_MS = [20, 100, 500, 2_000];

/** For how long a call and its repetitions may take in all. */
const DEADLINE_MS = 10_000;

/** An object did not respond in time. What it was asked to do may still happen. */
export class ObjectTimeoutError extends Error {
  override readonly name = "ObjectTimeoutError";
}

interface CallOptions {
  /** Whether a second run of the call would do no harm, in case only the response to the first was lost. */
  mayRepeat?: boolean;
  pausesMs?: readonly number[];
  deadlineMs?: number;
  /** `call` settles by itself by the time that it is given. Saves a timer. */
  keepsDeadline?: boolean;
}

/**
 * Makes a call to an object, again while the object restarts. `call` must get a fresh stub each time, and must not
 * repeat anything itself. Throws what the last try threw, or an `ObjectTimeoutError`.
 */
export async function callObject<T>(
  call: (untilMs: number) => Promise<T>,
  options: CallOptions = {},
): Promise<T> {
  const { deadlineMs = DEADLINE_MS, keepsDeadline = false } = options;
  const untilMs = Date.now() + deadlineMs;
  if (keepsDeadline) return callUntil(untilMs, async () => call(untilMs), options);
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    timeout.reject(new ObjectTimeoutError(`An object did not respond within ${deadlineMs} ms.`));
  }, deadlineMs);
  try {
    return await callUntil(untilMs, async () => Promise.race([call(untilMs), timeout.promise]), options);
  } finally {
    clearTimeout(timer);
  }
}

/** Makes the call, again while the object restarts and there is time. */
async function callUntil<T>(
  untilMs: number,
  call: () => Promise<T>,
  { mayRepeat = true, pausesMs = RESTART_PAUSES_MS }: CallOptions,
): Promise<T> {
  let leftMs = mayRepeat ? pausesMs : [];
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const [pauseMs, ...rest] = pausesAfter(error, leftMs);
      const jitteredMs = (pauseMs ?? 0) * (0.5 + Math.random());
      if (pauseMs === undefined || Date.now() + jitteredMs >= untilMs) throw error;
      leftMs = rest;
      await scheduler.wait(jitteredMs);
    }
  }
}

/** The pauses that may still follow a failed try; none if the call must not be repeated. */
function pausesAfter(error: unknown, pausesMs: readonly number[]): number[] {
  if (error instanceof Problem || error instanceof ObjectTimeoutError || isSubrequestLimit(error)) return [];
  // developers.cloudflare.com/durable-objects/best-practices/error-handling. "remote": the object's own code threw it.
  if (isOverloaded(error) || has(error, "remote")) return [];
  // The runtime has repeated this up to five times already: one more round, after the longest pause.
  return has(error, "retryable") ? pausesMs.slice(-1).filter(() => pausesMs.length > 1) : [...pausesMs];
}

const has = (error: unknown, flag: "overloaded" | "remote" | "retryable") =>
  error instanceof Error && Reflect.get(error, flag) === true;

/** Whether an object has too much to do. Another call would prolong that, whoever makes it. */
export const isOverloaded = (error: unknown): boolean => has(error, "overloaded");

/** Marks methods of an object that may run twice, so that the runtime may repeat a call which perhaps arrived. */
export function markRepeatable<Name extends string>(
  { prototype }: { prototype: Record<Name, (...args: never[]) => unknown> },
  ...names: Name[]
): void {
  retryable(...names.map((name) => prototype[name]));
}

/** Whether a call failed because the object runs a version of the code that lacks the method. */
export function lacksMethod(error: unknown): boolean {
  return error instanceof TypeError && error.message.includes("does not implement the method");
}
