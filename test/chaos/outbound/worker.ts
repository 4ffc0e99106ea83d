/**
 * The built Worker, with additions that production must not have. It runs in two processes:
 *
 *     home    has the Durable Objects. Its semaphore can be crashed, and logs every request and grant.
 *     away    reaches the same semaphore through `Gate`, over the network. Its holders can be killed or frozen alone.
 *
 * With CHAOS_LEASES=memory the semaphore forgets its leases whenever it starts. That is the negative control.
 */
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import * as built from "sluice";
import type * as source from "../../../src/index.ts";

export * from "sluice";

const production: typeof source = built;

interface ChaosEnv extends Env {
  CHAOS_LEASES: "kept" | "memory";
  /** Only in the process without the objects. */
  GATE?: Service<Gate>;
}

type AcquireRequest = Parameters<source.Semaphore["acquire"]>[0];

/** Counters that survive the object, as its callers do. A life of the object lasts from one crash to the next. */
let requests = 0;
let lives = 0;

export class Semaphore extends production.Semaphore {
  readonly #life = ++lives;

  constructor(ctx: DurableObjectState, env: ChaosEnv) {
    if (env.CHAOS_LEASES === "memory") forgetLeases(ctx.storage.sql);
    super(ctx, env);
  }

  override acquire(request: AcquireRequest): ReturnType<source.Semaphore["acquire"]> {
    const acquired = super.acquire(request);
    logEvent({ did: "requested", leaseId: request.leaseId, turn: ++requests, life: this.#life });
    if (acquired.is === "granted") this.#logGrant(request.leaseId, acquired.lease.fence);
    return acquired;
  }

  override async wait(leaseId: string): Promise<Awaited<ReturnType<source.Semaphore["wait"]>>> {
    const result = await super.wait(leaseId);
    if (result.is === "granted") this.#logGrant(leaseId, result.lease.fence);
    return result;
  }

  crash(): void {
    this.ctx.abort("chaos");
  }

  #logGrant(leaseId: string, fence: number): void {
    logEvent({ did: "granted", leaseId, fence, life: this.#life });
  }
}

/** The semaphores, for another process. */
export class Gate extends WorkerEntrypoint<ChaosEnv> {
  semaphore(name: string): Door {
    return new Door(this.env.SEMAPHORE.getByName(name));
  }
}

type Stub = ReturnType<Env["SEMAPHORE"]["getByName"]>;

/** Gives access to one semaphore. Its stub itself has no meaning outside of its process. */
class Door extends RpcTarget {
  readonly #stub: Stub;

  constructor(stub: Stub) {
    super();
    this.#stub = stub;
  }

  acquire(...args: Parameters<Stub["acquire"]>) {
    return this.#stub.acquire(...args);
  }

  wait(...args: Parameters<Stub["wait"]>) {
    return this.#stub.wait(...args);
  }

  reportHead(...args: Parameters<Stub["reportHead"]>) {
    return this.#stub.reportHead(...args);
  }

  release(...args: Parameters<Stub["release"]>) {
    return this.#stub.release(...args);
  }
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (!pathname.startsWith("/~crash/")) return production.default.fetch(request, reachable(env), ctx);
    const semaphore = env.SEMAPHORE.getByName(pathname.slice("/~crash/".length));
    // The crash breaks the very call that asks for it.
    await Promise.resolve(Reflect.get(semaphore, "crash")()).catch(() => {});
    return new Response(null, { status: 204 });
  },
} satisfies ExportedHandler<ChaosEnv>;

let away: Env | undefined;

/** The environment, with semaphores that can be reached from this process. */
function reachable(env: ChaosEnv): Env {
  const { GATE } = env;
  if (!GATE) return env;
  const idFromName = (name: string) => env.SEMAPHORE.idFromName(name);
  // Promise pipelining: a call leaves together with the request for the stub it is made on.
  const getByName = (name: string) => GATE.semaphore(name);
  away ??= Object.assign({ ...env }, { SEMAPHORE: { idFromName, getByName } });
  return away;
}

function forgetLeases(sql: SqlStorage): void {
  const [table] = sql.exec("SELECT name FROM sqlite_master WHERE name = 'lease'").toArray();
  if (table) sql.exec("DELETE FROM lease");
}

function logEvent(event: Record<string, unknown>): void {
  console.log(JSON.stringify({ chaos: event }));
}
