/**
 * A Worker around Sluice's own, for measuring its semaphore from within: a call over HTTP would cost more than what
 * is to be measured. Each request here is one invocation, as a call to an upstream is, which acquires and releases
 * many times; whoever sent it takes the time.
 *
 *     /pairs/semaphore?rounds=1000&parallel=20    acquire + release
 *     /pairs/baseline?rounds=1000&parallel=20     two empty calls to an object that each write one row
 *     /line?waiting=10000&rounds=2000             grants, while a line of constant length waits; then it is drained
 *
 * It is sent to workerd with its types stripped, beside the built Worker, which is the module "sluice" there.
 */
import { DurableObject } from "cloudflare:workers";

export * from "sluice";

interface BenchEnv extends Env {
  BASELINE: DurableObjectNamespace<Baseline>;
}

type Stub = ReturnType<BenchEnv["SEMAPHORE"]["getByName"]>;

const LEASE_MS = 60_000;
const SETTLE_MS = 1_000;

/** The least that a durable call can cost: one row written, in a table that stays as small as it is. */
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
    if (pathname === "/line") return Response.json(await timeLine(env, number("waiting"), number("rounds")));
    const pair = { "/pairs/semaphore": semaphorePair, "/pairs/baseline": baselinePair }[pathname];
    if (pair) await repeat(() => pair(env), number("rounds"), number("parallel"));
    return new Response();
  },
} satisfies ExportedHandler<BenchEnv>;

async function baselinePair(env: BenchEnv): Promise<void> {
  await env.BASELINE.getByName("baseline").write();
  await env.BASELINE.getByName("baseline").write();
}

/** As src/outbound/permit.ts does it. */
async function semaphorePair(env: BenchEnv): Promise<void> {
  const leaseId = crypto.randomUUID();
  const acquired = await env.SEMAPHORE.getByName("wide").acquire(requestFor(leaseId));
  if (acquired.is !== "granted") throw new Error(`A permit that is free was not granted: ${acquired.is}.`);
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
 * One permit, and `waiting` that wait for it. In each of `rounds` it is released, whoever is first in line gets it,
 * and somebody new joins the line. Gives ms per round, and per grant while the line is then drained.
 */
async function timeLine(env: BenchEnv, waiting: number, rounds: number) {
  const semaphore = env.SEMAPHORE.getByName("narrow");
  const line = await Promise.all(Array.from({ length: waiting + 1 }, async () => join(semaphore)));
  await scheduler.wait(SETTLE_MS); // all of them are on their way, not all are there
  let first = 0;
  const handOver = async () => {
    await leave(semaphore, line[first++]);
    if (!(await line[first]?.granted)) throw new Error("A permit was not granted in its turn.");
  };
  const startedAtMs = performance.now();
  for (let round = 0; round < rounds; round++) {
    await handOver();
    line.push(await join(semaphore));
  }
  const steadyAtMs = performance.now();
  while (first < line.length - 1) await handOver();
  const drainedAtMs = performance.now();
  await leave(semaphore, line[first]);
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
  if (!place) throw new Error("The line has ended too early.");
  await semaphore.release(place.leaseId, { outcome: "ok" });
  place.ticket[Symbol.dispose]();
}

function requestFor(leaseId: string) {
  return { leaseId, holder: "bench", priority: "interactive" as const, leaseMs: LEASE_MS, isRetry: false };
}
