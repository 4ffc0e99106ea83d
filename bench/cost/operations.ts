/**
 * What users do, each with what it uses on the platform: `npm run bench -- cost` prints it, and a test holds most of it
 * against budgets.ts.
 */
import type { Usage } from "../../test/support/platform/usage.ts";

const MB = 1_000_000;
/** What most clients send at once: below the limit for a request's body, which is 100 MB on most plans. */
const TUS_PIECE = 50 * MB;
const TUS = { "Tus-Resumable": "1.0.0" };

/** A Worker whose use is counted. */
export interface Site {
  call(path: string, init?: RequestInit): Promise<{ status: number; location: string | null; text: string }>;
  /** Resolves when what was begun in the background has ended. */
  settle(): Promise<void>;
  /** Resolves when the alarms of what ran before have fired: a ledger looks after 15 s whether a run is still alive. */
  rest(): Promise<void>;
  /** Runs the watchdog, as the platform does each minute. */
  runCron(): Promise<void>;
  /** Has the ledger remove a task that has ended, as it does when its time has come. */
  removeTask(id: string): Promise<void>;
  /** Has the schedules tick that tick each minute. */
  tick(): Promise<void>;
}

export interface Operation {
  name: string;
  /** What the operation needs, and does not count. */
  prepare?: (site: Site) => Promise<unknown>;
  run: (site: Site) => Promise<unknown>;
  /** Removes what would disturb the next operation. */
  finish?: (site: Site) => Promise<unknown>;
  /** Takes long, or moves many bytes: not part of the test. */
  isSlow?: true;
  /**
   * The Worker that it needs, if not the common one. `removing`: tasks are removed soon after their end, which elsewhere
   * would be counted with what comes later. `waiting`: the operation waits for minutes. Five after its first call, an object
   * renews its entry in the watchdog's list.
   */
  needs?: "removing" | "waiting";
}

const json = (body: unknown): RequestInit => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

async function runTask(site: Site, body: Record<string, unknown>): Promise<string> {
  const { text } = await expectStatus(202, site.call("/tasks", json(body)));
  await site.settle();
  return (JSON.parse(text) as { id: string }).id;
}

async function expectStatus<T extends { status: number; text: string }>(status: number, called: Promise<T>) {
  const result = await called;
  if (result.status !== status) throw new Error(`${result.status} instead of ${status}: ${result.text}`);
  return result;
}

let files = 0;

/** Puts a new file; resolves to its path. */
const put = (size: number) => async (site: Site) => {
  const path = `/files/cost-${++files}.bin`;
  await expectStatus(201, site.call(path, { method: "PUT", body: new Uint8Array(size) }));
  return path;
};

const form = (size: number) => async (site: Site) => {
  const body = new FormData();
  body.set("file", new File([new Uint8Array(size)], "cost.bin"));
  return expectStatus(201, site.call("/upload-file", { method: "POST", body }));
};

const tus = (size: number) => async (site: Site) => {
  const headers = { ...TUS, "Upload-Length": String(size) };
  const { location } = await expectStatus(201, site.call("/uploads", { method: "POST", headers }));
  const { pathname } = new URL(location ?? "");
  for (let offset = 0; offset < size; offset += TUS_PIECE) {
    const body = new Uint8Array(Math.min(TUS_PIECE, size - offset));
    const type = "application/offset+octet-stream";
    const fields = { ...TUS, "Upload-Offset": String(offset), "Content-Type": type };
    await expectStatus(204, site.call(pathname, { method: "PATCH", headers: fields, body }));
  }
  await site.settle();
};

const fetchFrom =
  (upstream: string, todo: () => number = () => 1) =>
  async (site: Site) =>
    expectStatus(200, site.call(`/fetch/${upstream}/todos/${todo()}`));

let todos = 1;

const longTask = (seconds: number) => async (site: Site) => {
  await runTask(site, { type: "cost_long", input: { seconds } });
};

const SCHEDULE = { cron: "* * * * *", type: "cost_quick", input: {} };

async function removeSchedules(site: Site): Promise<void> {
  const { schedules } = JSON.parse((await site.call("/schedules")).text) as { schedules: { id: string }[] };
  for (const { id } of schedules) await site.call(`/schedules/${id}`, { method: "DELETE" });
}

export const OPERATIONS: readonly Operation[] = [
  { name: "hello", run: async (site) => site.call("/hello") },
  {
    name: "run-tasks: two tasks",
    run: async (site) => {
      await expectStatus(200, site.call("/run-tasks"));
      await site.settle();
    },
  },
  {
    name: "a task in the fast lane, from POST to its removal",
    run: async (site) => site.removeTask(await runTask(site, { type: "cost_quick", input: {} })),
    needs: "removing",
  },
  { name: "a task in the long lane, 1 s", run: longTask(1) },
  {
    name: "a task in the long lane, 60 s",
    prepare: async (site) => site.rest(),
    run: longTask(60),
    isSlow: true,
    needs: "waiting",
  },
  {
    name: "a tick of a schedule, and its task",
    prepare: async (site) => {
      await site.rest();
      await expectStatus(201, site.call("/schedules", json(SCHEDULE)));
    },
    run: async (site) => site.tick(),
    finish: removeSchedules,
    needs: "waiting",
  },
  { name: "a form with 1 MB", run: form(MB) },
  { name: "a form with 100 MB", run: form(100 * MB), isSlow: true },
  { name: "PUT of 1 MB", run: put(MB) },
  { name: "PUT of 100 MB", run: put(100 * MB), isSlow: true },
  { name: "tus, 1 MB", run: tus(MB) },
  { name: "tus, 100 MB in pieces of 50 MB", run: tus(100 * MB), isSlow: true },
  { name: "tus, 200 MB in pieces of 50 MB", run: tus(200 * MB), isSlow: true },
  { name: "GET of a file", prepare: put(MB), run: async (site) => site.call(`/files/cost-${files}.bin`) },
  { name: "/fetch", run: fetchFrom("cost-plain") },
  {
    name: "/fetch twice at once, one of them queued",
    run: async (site) => Promise.all([fetchFrom("cost-single")(site), fetchFrom("cost-single")(site)]),
  },
  { name: "/fetch that fills the cache", run: fetchFrom("cost-cached", () => ++todos) },
  { name: "/fetch from the cache", prepare: fetchFrom("cost-cached"), run: fetchFrom("cost-cached") },
  { name: "the watchdog, each minute", run: async (site) => site.runCron() },
];

/** So that nearly every shard of ledger and catalogue has made its tables and registered itself: that comes once. */
export async function warmUp(site: Site): Promise<void> {
  for (let i = 0; i < 40; i++) await site.call("/tasks", json({ type: "cost_quick", input: {} }));
  for (let i = 0; i < 60; i++) await put(1)(site);
  await site.settle();
}

/** The upstreams that the operations call, for the variable UPSTREAMS. */
export const COST_UPSTREAMS = {
  "cost-plain": { entrypoint: "DemoUpstream", cache_seconds: 0 },
  "cost-single": { entrypoint: "DemoUpstream", cache_seconds: 0, concurrency: 1 },
  "cost-cached": { entrypoint: "DemoUpstream", cache_seconds: 3600 },
};

/** Runs an operation, and resolves to what it used. */
export async function measureOperation(
  { prepare, run, finish }: Operation,
  site: Site,
  measure: (action: () => Promise<unknown>) => Promise<Usage>,
): Promise<Usage> {
  await prepare?.(site);
  await site.settle();
  const usage = await measure(async () => {
    await run(site);
    await site.settle();
  });
  await finish?.(site);
  return usage;
}
