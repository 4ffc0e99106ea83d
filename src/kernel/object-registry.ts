/**
 * Which objects the watchdog must tend: a small R2 object that lists them, written by the objects themselves.
 *
 * An object lives for ever where its first call created it, and the cron runs on whatever machine is idle. So the
 * watchdog must not call an object that does not exist yet. An object that sets an alarm for the first time adds its
 * name to the list. It does so again from time to time, in case the list was lost.
 */
import { z } from "zod";
import { errorFields, log } from "./log.ts";
import { readPlacement } from "./objects.ts";

/** Each is `BINDING/name`, as in `TASK_LEDGER/s0`. Members and objects that this version does not know are kept. */
const listSchema = z.looseObject({ objects: z.array(z.string()) });

const NEXT_KEY = "next-registration";
/** The second time is soon: the object may have died during the first. */
const SECOND_MS = 5 * 60_000;
const RENEWAL_MS = 7 * 86_400_000;
/** After a failure. The object has its alarm all the same: the list is for the case that this is lost. */
const RETRY_MS = 60_000;
/** R2 takes one write a second to a key, and all objects of a new deployment may come at once. */
const PAUSES_MS = [200, 1_000, 2_000, 4_000, 8_000];

/** A jurisdiction has objects of its own. */
function keyOf(env: Env): string {
  const { jurisdiction } = readPlacement(env);
  return jurisdiction === undefined ? "sluice/objects.json" : `sluice/objects.${jurisdiction}.json`;
}

/** The list, as text. */
async function read(env: Env): Promise<{ etag?: string; text: string }> {
  const stored = await env.FILES.get(keyOf(env));
  return stored ? { etag: stored.etag, text: await stored.text() } : { text: EMPTY };
}

const EMPTY = JSON.stringify({ objects: [] });

const parse = (text: string) => listSchema.parse(JSON.parse(text));

/** A list that somebody has broken is begun anew: the others add themselves to it again when they renew their entries. */
function parseOrBegin(text: string) {
  try {
    return parse(text);
  } catch (error) {
    log("error", "the list of objects is broken, and is begun anew", errorFields(error));
    return parse(EMPTY);
  }
}

/** The objects that exist and have something to tend, each as `BINDING/name`. */
export async function registeredObjects(env: Env): Promise<string[]> {
  return parse((await read(env)).text).objects;
}

async function register(env: Env, object: string): Promise<void> {
  for (const pauseMs of [...PAUSES_MS, undefined]) {
    try {
      const { etag, text } = await read(env);
      const list = parseOrBegin(text);
      if (list.objects.includes(object)) return;
      const changed = JSON.stringify({ ...list, objects: [...list.objects, object].toSorted() });
      const onlyIf = etag === undefined ? new Headers({ "If-None-Match": "*" }) : { etagMatches: etag };
      if (await env.FILES.put(keyOf(env), changed, { onlyIf })) return;
      if (pauseMs === undefined) throw new Error("Others changed the list each time.");
    } catch (error) {
      if (pauseMs === undefined) throw error;
    }
    await scheduler.wait(pauseMs * (0.5 + Math.random()));
  }
}

/** An object's own entry in the list. */
export class Registration {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #binding: string;
  #dueAtMs: number | undefined;

  constructor(ctx: DurableObjectState, env: Env, binding: string) {
    this.#ctx = ctx;
    this.#env = env;
    this.#binding = binding;
  }

  /** Call this whenever an alarm is set. It does its work in the background, and hardly ever has any. */
  ensure(): void {
    const nowMs = Date.now();
    const { kv } = this.#ctx.storage;
    this.#dueAtMs ??= kv.get<number>(NEXT_KEY) ?? 0;
    if (nowMs < this.#dueAtMs) return;
    // Now, together with the write that sets the alarm.
    this.#dueAtMs = nowMs + (this.#dueAtMs === 0 ? SECOND_MS : RENEWAL_MS);
    kv.put(NEXT_KEY, this.#dueAtMs);
    this.#ctx.waitUntil(this.#register());
  }

  async #register(): Promise<void> {
    const object = `${this.#binding}/${this.#ctx.id.name}`;
    try {
      await register(this.#env, object);
    } catch (error) {
      this.#dueAtMs = Date.now() + RETRY_MS;
      log("warn", "an object is not registered with the watchdog; it will try again", {
        object,
        ...errorFields(error),
      });
    }
  }
}
