/**
 * A Worker around Sluice's own, to measure its semaphore from within: a call over HTTP would cost more than what is
 * measured. Each request here is one invocation that acquires and releases many times. Its client takes the time.
 *
 *     /pairs/semaphore?rounds=1000&parallel=20    acquire + release
 *     /pairs/baseline?rounds=1000&parallel=20     two empty calls to an object that each write one row
 *     /queue?waiting=10000&rounds=2000            grants, while the queue keeps its length; then it is drained
 *
 * workerd gets it with its types stripped, beside the built Worker, which is the module "sluice" there.
 */
import { DurableObject } from "cloudflare:workers";

export * from "sluice";

interface BenchEnv extends Env {
  BASELINE: DurableObjectNamespace<Baseline>;
}

type Stub = ReturnType<BenchEnv["SEMAPHORE"]["getByName"]>;

const LEASE_MS = 60_000;
const SETTLE_MS = 1_000;

/** The least that a durable call can cost: one row is written, in a table that does not grow. */
export class Baseline extends DurableObject {
  readonly #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec("CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, value INTEGER)");
  }

  write(): void {
    this.#sql.exec("INSERT OR REPLACE INTO row VALUES (1, 1)");
  }
}

export default {
  async fetch(request, env): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const number = (name: string) => Number(searchParams.get(name) ?? 1);
    if (pathname === "/queue")
      return Response.json(await timeQueue(env, number("waiting"), number("rounds")));
    const pair = { "/pairs/semaphore": semaphorePair, "/pairs/baseline": baselinePair }[pathname];
    if (pair) await repeat(() => pair(env), number("rounds"), number("parallel"));
    return new Response();
  },
} satisfies ExportedHandler<BenchEnv>;

async function baselinePair(env: BenchEnv): Promise<void> {
  await env.BASELINE.getByName("baseline").write();
  await env.BASELINE.getByName("baseline").write();
}

/** As src/outbound/client/acquire-permit.ts does it. */
async function semaphorePair(env: BenchEnv): Promise<void> {
  const leaseId = crypto.randomUUID();
  const acquired = await env.SEMAPHORE.getByName("wide").acquire(requestFor(leaseId));
  if (acquired.is !== "granted") throw new Error(`A free permit was not granted: ${acquired.is}.`);
  await env.SEMAPHORE.getByName("wide").release(leaseId, { outcome: "ok" });
  acquired.ticket[Symbol.dispose]();
}

async function repeat(action: () => Promise<void>, rounds: number, parallel: number): Promise<void> {
  let left = rounds;
  const work = async () => {
    while (left-- > 0) await action();
  };
  await Promise.all(Array.from({ length: parallel }, work));
}

/**
 * One permit, and a queue of `waiting` for it. In each of `rounds` the permit is released, the first in the queue
 * gets it, and a new waiter joins. Resolves to ms per round, and ms per grant while the queue is then drained.
 */
async function timeQueue(env: BenchEnv, waiting: number, rounds: number) {
  const semaphore = env.SEMAPHORE.getByName("narrow");
  const queue = await Promise.all(Array.from({ length: waiting + 1 }, async () => join(semaphore)));
  await scheduler.wait(SETTLE_MS); // all of them have been sent, but not all have arrived
  let first = 0;
  const releaseAndGrant = async () => {
    await leave(semaphore, queue[first++]);
    if (!(await queue[first]?.granted))
      throw new Error("A permit was not granted to the first in the queue.");
  };
  const startedAtMs = performance.now();
  for (let round = 0; round < rounds; round++) {
    await releaseAndGrant();
    queue.push(await join(semaphore));
  }
  const steadyAtMs = performance.now();
  while (first < queue.length - 1) await releaseAndGrant();
  const drainedAtMs = performance.now();
  await leave(semaphore, queue[first]);
  return { roundMs: (steadyAtMs - startedAtMs) / rounds, drainMs: (drainedAtMs - steadyAtMs) / waiting };
}

async function join(semaphore: Stub) {
  const leaseId = crypto.randomUUID();
  const acquired = await semaphore.acquire(requestFor(leaseId));
  if (acquired.is === "refused") throw new Error(`Refused: ${acquired.reason}.`);
  const granted = semaphore.wait(leaseId).then(({ is }) => is === "granted");
  return { leaseId, granted, ticket: acquired.ticket };
}

async function leave(semaphore: Stub, place: Awaited<ReturnType<typeof join>> | undefined): Promise<void> {
  if (!place) throw new Error("The queue ended too early.");
  await semaphore.release(place.leaseId, { outcome: "ok" });
  place.ticket[Symbol.dispose]();
}

function requestFor(leaseId: string) {
  return { leaseId, holder: "bench", priority: "interactive" as const, leaseMs: LEASE_MS, isRetry: false };
}
