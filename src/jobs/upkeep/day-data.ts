/** What a day's report is about: the day's tasks, files and upstream calls, in numbers. */
import { countFiles } from "../../files/index.ts";
import { statusOfAll } from "../../outbound/index.ts";
import { countTasks, type TaskCount } from "../../tasks/index.ts";
import type { Day } from "./day.ts";

const HOUR_MS = 3_600_000;

const STATUSES = ["succeeded", "failed", "cancelled"] as const;
type Counts = Record<(typeof STATUSES)[number] | "active" | "created", number>;

export interface DayData {
  date: string;
  timeZone: string;
  from: string;
  until: string;
  collectedAt: string;
  /** Tasks that were created on the day and are still kept; `active` have not ended yet. */
  tasks: Counts & {
    byType: (Counts & { type: string; meanSeconds: number | null })[];
    byHour: Counts[];
  };
  /** Sizes are in bytes. `stored`: on the day, by uploads and by tasks. */
  files: {
    kept: { count: number; bytes: number };
    stored: { count: number; bytes: number };
    byHour: { uploaded: number; made: number; bytes: number }[];
  };
  upstreams: UpstreamDay[];
  /** Upstreams whose semaphores did not respond. */
  unavailable: string[];
}

export interface UpstreamDay {
  name: string;
  /** From when on the calls are counted, until the report: since the report before, or since the semaphore has started. */
  since: string;
  calls: number;
  ok: number;
  failed: number;
  overloaded: number;
  refused: number;
  retries: number;
  latencyMs: { p50: number; p90: number; p99: number } | null;
  /** The totals of the semaphore, for the next report. */
  totals: Totals;
  /** Those of each shard that responded, by its number, if there are several: each counts from its own start. */
  shards?: Record<string, Totals> | undefined;
}

interface Totals {
  since: string;
  granted: number;
  ok: number;
  failed: number;
  overloaded: number;
  refused: number;
  retries: number;
}

/** What the report of the day before has kept, for what can only be counted as a difference. */
export type Before = Pick<DayData, "collectedAt"> & {
  upstreams: Pick<UpstreamDay, "name" | "totals" | "shards">[];
};

export async function collectDay(
  env: Env,
  { date, timeZone, day, nowMs }: { date: string; timeZone: string; day: Day; nowMs: number },
  before: Before | undefined,
): Promise<DayData> {
  const { fromMs, untilMs } = day;
  const hours = Math.ceil((untilMs - fromMs) / HOUR_MS);
  const [tasks, files, status] = await Promise.all([
    countTasks(env, fromMs, untilMs),
    countFiles(env, fromMs, untilMs),
    statusOfAll(env),
  ]);
  return {
    date,
    timeZone,
    from: new Date(fromMs).toISOString(),
    until: new Date(untilMs).toISOString(),
    collectedAt: new Date(nowMs).toISOString(),
    tasks: sumTasks(tasks, hours),
    files: sumFiles(files, hours),
    upstreams: status.upstreams.map((one) => sinceBefore(one, before)),
    unavailable: status.unavailable,
  };
}

const noCounts = (): Counts => ({ created: 0, succeeded: 0, failed: 0, cancelled: 0, active: 0 });

function addTo(counts: Counts, { status, count }: TaskCount): void {
  counts.created += count;
  counts[STATUSES.find((one) => one === status) ?? "active"] += count;
}

/** @public For its tests. */
export function sumTasks(rows: readonly TaskCount[], hours: number): DayData["tasks"] {
  const all = noCounts();
  const byHour = Array.from({ length: hours }, noCounts);
  const byType = [...Map.groupBy(rows, ({ type }) => type)].map(([type, those]) => {
    const counts = noCounts();
    for (const row of those) addTo(counts, row);
    const timed = those.reduce((sum, row) => sum + row.timed, 0);
    const durationMs = those.reduce((sum, row) => sum + row.duration_ms, 0);
    return { type, ...counts, meanSeconds: timed === 0 ? null : Math.round(durationMs / timed) / 1_000 };
  });
  for (const row of rows) {
    addTo(all, row);
    const hour = byHour[row.hour];
    if (hour) addTo(hour, row);
  }
  return {
    ...all,
    byType: byType.toSorted((a, b) => b.created - a.created || (a.type < b.type ? -1 : 1)),
    byHour,
  };
}

function sumFiles({ kept, stored }: Awaited<ReturnType<typeof countFiles>>, hours: number): DayData["files"] {
  const byHour = Array.from({ length: hours }, () => ({ uploaded: 0, made: 0, bytes: 0 }));
  const sum = { count: 0, bytes: 0 };
  for (const { hour, is_made, count, bytes } of stored) {
    sum.count += count;
    sum.bytes += bytes;
    const place = byHour[hour];
    if (!place) continue;
    place[is_made === 1 ? "made" : "uploaded"] += count;
    place.bytes += bytes;
  }
  return { kept, stored: sum, byHour };
}

type Status = Awaited<ReturnType<typeof statusOfAll>>["upstreams"][number];

/** @public For its tests. A semaphore counts from its start: the day's calls are what has come since the report before. */
export function sinceBefore(
  { name, totals, latencyMs, shards }: Pick<Status, "name" | "totals" | "latencyMs" | "shards">,
  before: Before | undefined,
): UpstreamDay {
  const earlier = before?.upstreams.find((one) => one.name === name);
  const byShard =
    shards && Object.fromEntries(shards.responding.map((one) => [one.shard, countsIn(one.totals)]));
  const counted = Object.entries(byShard ?? { "": countsIn(totals) }).map(([shard, now]) => {
    const then = byShard ? earlier?.shards?.[shard] : earlier?.totals;
    return { now, then: then?.since === now.since ? then : undefined };
  });
  const difference = (key: Exclude<keyof Totals, "since">) =>
    counted.reduce((sum, { now, then }) => sum + now[key] - (then?.[key] ?? 0), 0);
  const starts = counted.map(({ now, then }) => (then && before ? before.collectedAt : now.since));
  return {
    name,
    since: starts.toSorted()[0] ?? totals.since,
    calls: difference("granted"),
    ok: difference("ok"),
    failed: difference("failed"),
    overloaded: difference("overloaded"),
    refused: difference("refused"),
    retries: difference("retries"),
    latencyMs,
    totals: countsIn(totals),
    ...(byShard && { shards: byShard }),
  };
}

function countsIn({ since, granted, retries, outcomes, refused }: Status["totals"]): Totals {
  const { ok, failed, overloaded } = outcomes;
  const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
  return { since, granted, ok, failed, overloaded, refused: refusals, retries };
}
