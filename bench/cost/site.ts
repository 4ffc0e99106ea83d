/** The simulated Worker on Miniflare, for the operations. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Usage } from "../../test/support/platform/usage.ts";
import { startMiniflare } from "../support/miniflare.ts";
import { DIST, ROOT } from "../support/workerd.ts";
import { COST_UPSTREAMS, type Site } from "./operations.ts";

/** So short that the ledger removes a task as soon as it has ended. */
export const REMOVES_AT_ONCE = 0.000_01;
const POLL_MS = 100;
/** Longer than the longest operation takes. */
const MAX_SETTLE_MS = 180_000;
/** Inside the project: Miniflare reads modules from there only. */
const BUILT = join(DIST, "cost");

export interface CountedSite extends AsyncDisposable {
  site: Site;
  used(): Promise<Usage>;
}

/** Starts a Worker that keeps tasks for so long after they have ended. */
export async function startSite(retentionDays: number): Promise<CountedSite> {
  execFileSync("npx", ["wrangler", "deploy", "bench/cost/worker.ts", "--dry-run", "--outdir", BUILT], {
    cwd: ROOT,
    stdio: "pipe",
  });
  const vars = {
    UPSTREAMS: COST_UPSTREAMS,
    DATA_UPSTREAM: "cost-plain",
    TASK_RETENTION_DAYS: { succeeded: retentionDays, failed: 1, cancelled: 1 },
  };
  const { url, miniflare } = await startMiniflare(vars, {
    main: join(BUILT, "worker.js"),
    onLog: () => {},
  });
  const report = async () => (await fetch(`${url}/used`)).json() as Promise<{ used: Usage; isIdle: boolean }>;
  const settle = async () => {
    const untilMs = Date.now() + MAX_SETTLE_MS;
    while (!(await report()).isIdle) {
      if (Date.now() > untilMs) throw new Error("What the operation has begun does not end.");
      await sleep(POLL_MS);
    }
  };
  return {
    site: {
      call: async (path, init) => {
        const response = await fetch(url + path, init);
        const { status, headers } = response;
        return { status, location: headers.get("location"), text: await response.text() };
      },
      settle,
      rest: async () => sleep(20_000),
      runCron: async () => void (await fetch(`${url}/cron`)),
      // By then its time has come.
      removeTask: async () => {
        await sleep(2_000);
        await fetch(`${url}/remove`);
      },
      // From the next minute on the clock.
      tick: async () => sleep(60_000 - (Date.now() % 60_000) + 3_000),
    },
    used: async () => (await report()).used,
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}
