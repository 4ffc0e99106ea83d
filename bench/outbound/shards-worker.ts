/**
 * Sluice, with semaphores that let in one call in a fixed time: as if one object were as slow beside this machine as it is
 * beside a fleet. In one process all objects share a thread, and so shards would gain nothing.
 *
 * workerd gets it with its types stripped, beside the built Worker, which is the module "sluice" there.
 */
import * as built from "sluice";
import type * as source from "../../src/index.ts";

export * from "sluice";

const production: typeof source = built;

interface BenchEnv extends Env {
  CALL_MS: number;
}

type Stub = ReturnType<Env["SEMAPHORE"]["getByName"]>;

/** When each object has dealt with all that have come to it. */
const busyUntilMs = new Map<string, number>();
let slow: Env | undefined;

/** The environment, with slow semaphores. */
function slowed(env: BenchEnv): Env {
  const idFromName = (name: string) => env.SEMAPHORE.idFromName(name);
  const getByName = (name: string) => {
    const stub = env.SEMAPHORE.getByName(name);
    return {
      acquire: async (...args: Parameters<Stub["acquire"]>) => {
        const nowMs = Date.now();
        const untilMs = Math.max(nowMs, busyUntilMs.get(name) ?? 0) + env.CALL_MS;
        busyUntilMs.set(name, untilMs);
        await scheduler.wait(untilMs - nowMs);
        return stub.acquire(...args);
      },
      wait: async (...args: Parameters<Stub["wait"]>) => stub.wait(...args),
      release: async (...args: Parameters<Stub["release"]>) => stub.release(...args),
    };
  };
  slow ??= Object.assign({ ...env }, { SEMAPHORE: { idFromName, getByName } });
  return slow;
}

export default {
  fetch: async (request, env, ctx) => production.default.fetch(request, slowed(env), ctx),
} satisfies ExportedHandler<BenchEnv>;
