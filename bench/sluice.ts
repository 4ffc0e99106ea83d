/** Sluice as a contender: on plain workerd, and on Miniflare for uploads. */
import { CONCURRENCY, type Contender, countFinished } from "./contender.ts";
import { startMiniflare } from "./support/miniflare.ts";
import { startWorkerd } from "./support/workerd.ts";

export async function startSluice(upstreamUrl: string): Promise<Contender> {
  const vars = {
    ACCESS: "local",
    DATA_UPSTREAM: "counting",
    DATA_PATH: "/todos/1",
    UPSTREAMS: { counting: { origin: upstreamUrl, concurrency: CONCURRENCY } },
  };
  const finished = countFinished();
  await using starting = new AsyncDisposableStack();
  const server = starting.use(await startWorkerd({ vars, onLine: finished.onLine }));
  const uploads = starting.use(await startMiniflare(vars));
  const started = starting.move();
  return {
    name: "Sluice",
    server,
    uploads,
    finishedTasks: finished.count,
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}
