/**
 * A Worker around Sluice's own, whose requests are a noisy neighbour and those beside it: many calls of one limit key, and one
 * call of each of many others, at the same semaphore.
 *
 *     /neighbour?noisy=10000&small=100&holdMs=20
 *
 * The response has how long each of the others waited for its permit, in ms.
 *
 * workerd gets it with its types stripped, beside the built Worker, which is the module "sluice" there.
 */
export * from "sluice";

type Stub = ReturnType<Env["SEMAPHORE"]["getByName"]>;

const LEASE_MS = 300_000;
const SETTLE_MS = 1_000;

export default {
  async fetch(request, env): Promise<Response> {
    const { searchParams } = new URL(request.url);
    const number = (name: string) => Number(searchParams.get(name));
    const semaphore = env.SEMAPHORE.getByName("shared");
    const noise = await Promise.all(
      Array.from({ length: number("noisy") }, async () => startCall(semaphore, "noisy", number("holdMs"))),
    );
    await scheduler.wait(SETTLE_MS);
    const waits = Array.from({ length: number("small") }, async (_, i) => {
      const startedAtMs = performance.now();
      const { granted, ended } = await startCall(semaphore, `small-${i}`, number("holdMs"));
      await granted;
      const waitedMs = performance.now() - startedAtMs;
      await ended;
      return waitedMs;
    });
    const waitsMs = await Promise.all(waits);
    for (const { leave } of noise) leave();
    await Promise.all(noise.map(async ({ ended }) => ended));
    return Response.json(waitsMs);
  },
} satisfies ExportedHandler<Env>;

/** A call that waits for its permit, holds it for so long, and releases it; or leaves before it has one. */
async function startCall(semaphore: Stub, key: string, holdMs: number) {
  const leaseId = crypto.randomUUID();
  const acquired = await semaphore.acquire({
    leaseId,
    holder: "bench",
    priority: "interactive",
    leaseMs: LEASE_MS,
    isRetry: false,
    key,
  });
  if (acquired.is === "refused") throw new Error(`Refused: ${acquired.reason}.`);
  const { ticket } = acquired;
  const granted = acquired.is === "granted" ? Promise.resolve() : untilGranted(ticket);
  const leave = () => void ticket.release({ outcome: "unknown" }, leaseId).catch(() => {});
  const hold = async () => {
    if ((await granted) === "gone") return;
    await scheduler.wait(holdMs);
    await ticket.release({ outcome: "ok" }, leaseId);
  };
  return { granted, ended: hold().finally(() => ticket[Symbol.dispose]()), leave };
}

async function untilGranted(ticket: { wait(): Promise<{ is: string }> }): Promise<"granted" | "gone"> {
  const { is } = await ticket.wait();
  return is === "granted" ? "granted" : "gone";
}
