/**
 * Empties storage between test files, since they share their Workers. At the end of each file, and not only at the
 * beginning of the next: that one has stubs of its own, and an object that still runs for the file before would write
 * its state once more.
 */
import { env, listDurableObjectIds, reset, runInDurableObject } from "cloudflare:test";
import { afterAll, beforeAll } from "vitest";
import { semaphoreNames } from "../../src/outbound/shards.ts";
import { readUpstreams } from "../../src/outbound/upstreams.ts";
import { platform } from "./platform/platform.ts";
import { resetUpstream } from "./scripted-upstream.ts";

/** The runtime puts an object out of memory that has had no call for ten seconds, and `reset` forgets it. */
const MIN_IDLE_MS = 9_000;
/** That of the system, whatever a file does to the clock. */
const { now } = Date;
let startedAtMs = 0;

beforeAll(async () => {
  startedAtMs = now();
  await reset();
});
afterAll(async () => {
  await platform.untilQuiet();
  if (now() - startedAtMs > MIN_IDLE_MS) await wakeAll();
  await reset();
  platform.reset();
  // What a file scripted would respond to the next one, or never respond.
  resetUpstream();
});

/** Calls each object, and that of the bucket, so that it is in memory. */
async function wakeAll(): Promise<void> {
  await env.FILES.head("none");
  for (const namespace of Object.values(env).filter(isNamespace)) {
    if (namespace === env.SEMAPHORE) continue;
    for (const id of await listDurableObjectIds(namespace))
      await runInDurableObject(namespace.get(id), () => {}).catch(() => {});
  }
  // A semaphore does not start without the name of its upstream.
  const ids = new Set((await listDurableObjectIds(env.SEMAPHORE)).map(String));
  for (const name of [...readUpstreams(env).values()].flatMap(semaphoreNames))
    if (ids.has(String(env.SEMAPHORE.idFromName(name))))
      await runInDurableObject(env.SEMAPHORE.getByName(name), () => {});
}

/** A service binding claims to have any method. */
const isNamespace = (binding: unknown): binding is DurableObjectNamespace =>
  (binding as object).constructor.name === "DurableObjectNamespace";
