/**
 * The built Worker, with what production must not have. It runs in two processes:
 *
 *     home    has the Durable Objects; its semaphore can be crashed, and tells of every request and grant
 *     away    reaches the same semaphore through `Gate`, over the network: a holder that can be killed or frozen alone
 *
 * With CHAOS_LEASES=memory the semaphore forgets its leases whenever it starts: the negative control.
 */
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";
import * as built from "sluice";
import type * as source from "../../../src/index.ts";

export * from "sluice";

const production: typeof source = built;

interface ChaosEnv extends Env {
  CHAOS_LEASES: "kept" | "memory";
  /** Only away from the objects. */
  GATE?: Service<Gate>;
}

type Asked = Parameters<source.Semaphore["acquire"]>[0];

/** Survives the object, as its caller does: the order in which requests came in, over all its lives. */
let asked = 0;
let lives = 0;

export class Semaphore extends production.Semaphore {
  readonly #life = ++lives;

  constructor(ctx: DurableObjectState, env: ChaosEnv) {
    if (env.CHAOS_LEASES === "memory") forgetLeases(ctx.storage.sql);
    super(ctx, env);
  }

  override acquire(request: Asked): ReturnType<source.Semaphore["acquire"]> {
    const answer = super.acquire(request);
    tell({ did: "asked", leaseId: request.leaseId, turn: ++asked, life: this.#life });
    if (answer.is === "granted") this.#tellGrant(request.leaseId, answer.lease.fence);
    return answer;
  }

  override async wait(leaseId: string): Promise<Awaited<ReturnType<source.Semaphore["wait"]>>> {
    const waited = await super.wait(leaseId);
    if (waited.is === "granted") this.#tellGrant(leaseId, waited.lease.fence);
    return waited;
  }

  crash(): void {
    this.ctx.abort("chaos");
  }

  #tellGrant(leaseId: string, fence: number): void {
    tell({ did: "granted", leaseId, fence, life: this.#life });
  }
}

/** The semaphores, for another process. */
export class Gate extends WorkerEntrypoint<ChaosEnv> {
  semaphore(name: string): Door {
    return new Door(this.env.SEMAPHORE.getByName(name));
  }
}

type Stub = ReturnType<Env["SEMAPHORE"]["getByName"]>;

/** One semaphore: its stub, which by itself means nothing outside of its process. */
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

  release(...args: Parameters<Stub["release"]>) {
    return this.#stub.release(...args);
  }
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (!pathname.startsWith("/~crash/")) return production.default.fetch(request, reachable(env), ctx);
    const semaphore = env.SEMAPHORE.getByName(pathname.slice("/~crash/".length));
    // It breaks the very call that asks for it.
    await Promise.resolve(Reflect.get(semaphore, "crash")()).catch(() => {});
    return new Response(null, { status: 204 });
  },
} satisfies ExportedHandler<ChaosEnv>;

let away: Env | undefined;

/** The environment with a semaphore that can be reached from here. */
function reachable(env: ChaosEnv): Env {
  const { GATE } = env;
  if (!GATE) return env;
  const idFromName = (name: string) => env.SEMAPHORE.idFromName(name);
  // Calls go out together with the request for the stub they are made on.
  const getByName = (name: string) => GATE.semaphore(name);
  away ??= Object.assign({ ...env }, { SEMAPHORE: { idFromName, getByName } });
  return away;
}

function forgetLeases(sql: SqlStorage): void {
  const [table] = sql.exec("SELECT name FROM sqlite_master WHERE name = 'lease'").toArray();
  if (table) sql.exec("DELETE FROM lease");
}

function tell(what: Record<string, unknown>): void {
  console.log(JSON.stringify({ chaos: what }));
}
