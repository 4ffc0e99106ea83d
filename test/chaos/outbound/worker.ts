/**
 * The built Worker, with additions that production must not have. It runs in two processes:
 *
 *     home    has the Durable Objects. Its semaphore can be crashed, and logs every request and grant.
 *     away    reaches the same semaphore through `Gate`, over the network. Its holders can be killed or frozen alone.
 *
 * There are three negative controls. With CHAOS_LEASES=memory the semaphore forgets its leases whenever it starts. With
 * CHAOS_LEASES=doubled it takes a permit that is handed on for one that was released, too. With CHAOS_LEASES=keyless it takes
 * each call for one permit of no key.
 */
import * as builtGate from "gate";
import * as built from "sluice";
import type * as gateSource from "../../../bench/support/gate.ts";
import type * as source from "../../../src/index.ts";

export * from "gate";
export * from "sluice";

const production: typeof source = built;
const gate: typeof gateSource = builtGate;

interface ChaosEnv extends Env {
  CHAOS_LEASES: "kept" | "memory" | "doubled" | "keyless";
}

type AcquireRequest = Parameters<source.Semaphore["acquire"]>[0];

/** Counters that survive the object, as its callers do. A life of the object lasts from one crash to the next. */
let requests = 0;
let lives = 0;

export class Semaphore extends production.Semaphore {
  readonly #life = ++lives;
  readonly #env: ChaosEnv;

  constructor(ctx: DurableObjectState, env: ChaosEnv) {
    if (env.CHAOS_LEASES === "memory") forgetLeases(ctx.storage.sql);
    super(ctx, env);
    this.#env = env;
  }

  override acquire(request: AcquireRequest): ReturnType<source.Semaphore["acquire"]> {
    const acquired = super.acquire(this.#env.CHAOS_LEASES === "keyless" ? withoutClaim(request) : request);
    if (!request.handOver)
      this.#logEvent({
        did: "requested",
        leaseId: request.leaseId,
        isolate: request.isolate ?? "",
        turn: ++requests,
        life: this.#life,
      });
    if (acquired.is !== "refused") {
      watchTickets(acquired.ticket);
      takeOvers.set(acquired.ticket, (...args) => this.onTakeOver(...args));
    }
    if (acquired.is === "granted")
      this.#logGrant(request.handOver?.waitedAs ?? request.leaseId, acquired.lease.fence);
    return acquired;
  }

  override async wait(leaseId: string): Promise<Awaited<ReturnType<source.Semaphore["wait"]>>> {
    const result = await super.wait(leaseId);
    if (result.is === "granted") this.#logGrant(leaseId, result.lease.fence);
    return result;
  }

  onTakeOver(waitedAs: string, handOver: HandOver, takeOver: () => Lease | undefined): Lease | undefined {
    if (this.#env.CHAOS_LEASES === "doubled") this.release(handOver.leaseId);
    const lease = takeOver();
    if (lease)
      this.#logEvent({
        did: "granted",
        leaseId: waitedAs,
        fence: lease.fence,
        life: this.#life,
        isHandedOn: true,
      });
    return lease;
  }

  crash(): void {
    this.ctx.abort("chaos");
  }

  #logGrant(leaseId: string, fence: number): void {
    this.#logEvent({ did: "granted", leaseId, fence, life: this.#life });
  }

  #logEvent(event: Record<string, unknown>): void {
    console.log(JSON.stringify({ chaos: { ...event, semaphore: this.ctx.id.name } }));
  }
}

function withoutClaim({ key: _key, weight: _weight, ...request }: AcquireRequest): AcquireRequest {
  return request;
}

type Ticket = Extract<ReturnType<source.Semaphore["acquire"]>, { ticket: unknown }>["ticket"];
type HandOver = Parameters<Ticket["takeOver"]>[0];
type Lease = NonNullable<ReturnType<Ticket["takeOver"]>>;
/** What happens when a permit is taken over with a ticket. */
const takeOvers = new WeakMap<Ticket, Semaphore["onTakeOver"]>();
let areWatched = false;

/** Permits are taken over with tickets, which all have one prototype. */
function watchTickets(ticket: Ticket): void {
  if (areWatched) return;
  areWatched = true;
  const prototype: Ticket = Object.getPrototypeOf(ticket);
  const takeOver: Ticket["takeOver"] = Reflect.get(prototype, "takeOver");
  prototype.takeOver = function (this: Ticket, handOver) {
    const take = () => takeOver.call(this, handOver);
    const onTakeOver = takeOvers.get(this);
    return onTakeOver ? onTakeOver(this.request.leaseId, handOver, take) : take();
  };
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (!pathname.startsWith("/~crash/")) return production.default.fetch(request, gate.reachable(env), ctx);
    const semaphore = env.SEMAPHORE.getByName(decodeURIComponent(pathname.slice("/~crash/".length)));
    // The crash breaks the very call that asks for it.
    await Promise.resolve(Reflect.get(semaphore, "crash")()).catch(() => {});
    return new Response(null, { status: 204 });
  },
} satisfies ExportedHandler<ChaosEnv>;

function forgetLeases(sql: SqlStorage): void {
  const [table] = sql.exec("SELECT name FROM sqlite_master WHERE name = 'lease'").toArray();
  if (table) sql.exec("DELETE FROM lease");
}
