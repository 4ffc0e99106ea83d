/**
 * Which metrics there are, and how they follow from what objects report: a family is a key of their tallies, and its
 * labels.
 *
 * A sum over the objects of a group is there only while all of them have reported. A sum that lacks one would look like a
 * counter that began anew, and its rate would be wrong twice; a gap is right.
 */

import type { Reading, ReadObject } from "../kernel/readings.ts";
import { BOUNDS_S, type Tally } from "../kernel/tally.ts";
import type { Family, HistogramSample, Labels, Sample } from "./exposition.ts";

interface Row {
  /** Which objects report it, and under which key. */
  from: ReadObject["object"] | readonly ReadObject["object"][];
  key: string;
  name: string;
  type: "counter" | "gauge" | "histogram";
  unit?: "seconds" | "bytes";
  /** The labels whose values are in the key, in its order. */
  labels: readonly string[];
  /** The values that the last label can have, if they are few: their series are there from the start, as zero. */
  values?: readonly string[];
  /**
   * How the values of several objects become one. Default: their sum. `kind`: the sum for each kind of object. `each`: not at
   * all, each has labels of its own.
   */
  over?: "max" | "kind" | "each";
  help: string;
}

const ROWS: readonly Row[] = [
  {
    from: "ledger",
    key: "tasks",
    name: "sluice_tasks",
    type: "gauge",
    labels: ["type", "status"],
    help: "Tasks that are kept, by type and status. Each shard counts no more than 10,000 of each.",
  },
  {
    from: "ledger",
    key: "submitted",
    name: "sluice_tasks_submitted",
    type: "counter",
    labels: ["type"],
    help: "Tasks that were written to the ledger.",
  },
  {
    from: "ledger",
    key: "finished",
    name: "sluice_tasks_finished",
    type: "counter",
    labels: ["type", "outcome"],
    help: "Tasks that have ended, by how they ended.",
  },
  {
    from: "ledger",
    key: "wait",
    name: "sluice_task_wait_seconds",
    type: "histogram",
    unit: "seconds",
    labels: ["type"],
    help: "From the submission of a task, or the time it was submitted for, to its first start. Counted when it has ended.",
  },
  {
    from: "ledger",
    key: "run",
    name: "sluice_task_run_seconds",
    type: "histogram",
    unit: "seconds",
    labels: ["type"],
    help: "From the first start of a task to its end, with the pauses between attempts.",
  },
  {
    from: "ledger",
    key: "oldest",
    name: "sluice_task_oldest_queued_seconds",
    type: "gauge",
    unit: "seconds",
    labels: ["type"],
    over: "max",
    help: "For how long the task that is next in its queue has been queued.",
  },
  {
    from: "ledger",
    key: "retries",
    name: "sluice_task_retries",
    type: "counter",
    labels: ["type"],
    help: "Attempts that failed and are followed by another.",
  },
  {
    from: "ledger",
    key: "crashes",
    name: "sluice_task_crashes",
    type: "counter",
    labels: ["type"],
    help: "Runs that ended without a word: their invocation or object died.",
  },
  {
    from: "scheduler",
    key: "schedules",
    name: "sluice_schedules",
    type: "gauge",
    labels: [],
    help: "Schedules.",
  },
  {
    from: "scheduler",
    key: "failing",
    name: "sluice_schedules_failing",
    type: "gauge",
    labels: [],
    help: "Schedules whose last tick could not be run.",
  },
  {
    from: ["ledger", "catalogue"],
    key: "alarm",
    name: "sluice_alarm_lateness_seconds",
    type: "histogram",
    unit: "seconds",
    labels: [],
    over: "kind",
    help: "How long after their time the alarms of objects ran.",
  },
  {
    from: ["ledger", "scheduler", "catalogue"],
    key: "overdue",
    name: "sluice_object_overdue_seconds",
    type: "gauge",
    unit: "seconds",
    labels: [],
    over: "each",
    help: "For how long an object should have acted by itself and has not.",
  },
  {
    from: "catalogue",
    key: "begun",
    name: "sluice_uploads_begun",
    type: "counter",
    labels: [],
    help: "Uploads, and files that tasks make, whose bytes began to go to R2: of a resumable one, with its first part.",
  },
  {
    from: "catalogue",
    key: "finished",
    name: "sluice_uploads_finished",
    type: "counter",
    labels: [],
    help: "Those of them that have become files.",
  },
  {
    from: "catalogue",
    key: "broken-off",
    name: "sluice_uploads_broken_off",
    type: "counter",
    labels: ["reason"],
    values: ["digest", "other"],
    help: "Those of them whose bytes were discarded. digest: they did not have the digest that was sent with them.",
  },
  {
    from: "catalogue",
    key: "checksum",
    name: "sluice_upload_checksum_failures",
    type: "counter",
    labels: ["of"],
    values: ["file", "chunk"],
    help: "Bytes that did not have the checksum that was sent with them. chunk: of a resumable upload, which goes on.",
  },
  {
    from: "catalogue",
    key: "bytes",
    name: "sluice_upload_bytes",
    type: "counter",
    unit: "bytes",
    labels: [],
    help: "The sizes of the files that uploads have become.",
  },
  {
    from: "catalogue",
    key: "strays",
    name: "sluice_strays",
    type: "gauge",
    labels: ["state"],
    help: "Objects in R2 that belong to no file. reserved: not yet. due: no longer, and waiting to be removed.",
  },
  {
    from: "semaphore",
    key: "in-use",
    name: "sluice_permits_in_use",
    type: "gauge",
    labels: [],
    help: "Permits that are held.",
  },
  {
    from: "semaphore",
    key: "limit",
    name: "sluice_permits_limit",
    type: "gauge",
    labels: [],
    help: "Permits that may be held right now.",
  },
  {
    from: "semaphore",
    key: "waiters",
    name: "sluice_permit_waiters",
    type: "gauge",
    labels: ["class"],
    help: "Calls that wait for a permit.",
  },
  {
    from: "semaphore",
    key: "wait",
    name: "sluice_permit_wait_seconds",
    type: "histogram",
    unit: "seconds",
    labels: [],
    help: "How long calls waited for the permit that they got.",
  },
  {
    from: "semaphore",
    key: "granted",
    name: "sluice_permits_granted",
    type: "counter",
    labels: [],
    help: "Calls that began with a permit, also one that was handed on.",
  },
  {
    from: "semaphore",
    key: "hand-overs",
    name: "sluice_permit_hand_overs",
    type: "counter",
    labels: [],
    help: "Calls that ended and handed their permit on to another of their isolate.",
  },
  {
    from: "semaphore",
    key: "expired",
    name: "sluice_permits_expired",
    type: "counter",
    labels: [],
    help: "Permits whose holder neither released them nor ended.",
  },
  {
    from: "semaphore",
    key: "refusals",
    name: "sluice_permit_refusals",
    type: "counter",
    labels: ["reason"],
    values: ["queue-full", "too-many-requests", "wait-limit", "paused", "breaker-open"],
    help: "Calls that got no permit.",
  },
  {
    from: "semaphore",
    key: "calls",
    name: "sluice_upstream_calls",
    type: "counter",
    labels: ["outcome"],
    values: ["ok", "overloaded", "failed", "unknown"],
    help: "Calls that have ended, by what they say about the upstream.",
  },
  {
    from: "semaphore",
    key: "retries",
    name: "sluice_upstream_retries",
    type: "counter",
    labels: ["decision"],
    values: ["allowed", "refused"],
    help: "Failed calls that asked to be retried, by whether the retry budget allowed it.",
  },
  {
    from: "semaphore",
    key: "breaker",
    over: "max",
    name: "sluice_breaker_state",
    type: "gauge",
    labels: ["state"],
    help: "1 for the state that the circuit breaker is in, 0 for the others. With several shards, for those that any is in.",
  },
  {
    from: "semaphore",
    key: "breaker-opened",
    name: "sluice_breaker_openings",
    type: "counter",
    labels: [],
    help: "How often the circuit breaker has opened.",
  },
  {
    from: "semaphore",
    key: "paused",
    over: "max",
    name: "sluice_upstream_paused",
    type: "gauge",
    labels: [],
    help: "1 while no call begins, because an operator or the upstream has asked for it.",
  },
  {
    from: "semaphore",
    key: "pauses",
    over: "max",
    name: "sluice_upstream_pauses",
    type: "counter",
    labels: ["by"],
    values: ["operator", "upstream"],
    help: "Pauses, by who has asked for them. They come to all shards, and count once.",
  },
];

/** The families of what the objects have reported. */
export function toFamilies(readings: readonly Reading[]): Family[] {
  return ROWS.map((row) => toFamily(row, readings));
}

function toFamily(row: Row, readings: readonly Reading[]): Family {
  const { name, type, help, unit } = row;
  const described = { name, help, ...(unit && { unit }) };
  const series = [...seriesOf(row, readings).values()];
  if (type !== "histogram")
    return {
      ...described,
      type,
      samples: series.map(({ labels, values }) => ({ labels, value: values[""] ?? 0 })),
    };
  const samples = series.map(
    ({ labels, values }): HistogramSample => ({
      labels,
      counts: Array.from({ length: BOUNDS_S.length + 1 }, (_, i) => values[String(i)] ?? 0),
      sum: values.sum ?? 0,
    }),
  );
  return { ...described, type, bounds: BOUNDS_S, samples };
}

interface Series {
  labels: Labels;
  /** By what follows the labels in the key: of a histogram the buckets and the sum, of others nothing. */
  values: Record<string, number>;
}

/** By their labels. */
function seriesOf(row: Row, readings: readonly Reading[]): Map<string, Series> {
  const found = new Map<string, Series>();
  for (const { object, name, group, tally } of reported(row, readings))
    for (const [key, value] of [...startOf(row), ...Object.entries(tally)]) {
      const [first, ...parts] = key.split("|");
      if (first !== row.key) continue;
      const labels = { ...ownLabels(row, { object, name, group }), ...labelsIn(row, parts) };
      const id = JSON.stringify(labels);
      const series = found.get(id) ?? { labels, values: {} };
      found.set(id, series);
      const rest = parts.slice(row.labels.length).join("|");
      const before = series.values[rest] ?? 0;
      series.values[rest] = row.over === "max" ? Math.max(before, value) : before + value;
    }
  return found;
}

/** What is there before anything was counted. */
function startOf({ key, labels, values }: Row): [key: string, value: number][] {
  if (labels.length === 0) return [[key, 0]];
  return (values ?? []).map((value) => [`${key}|${value}`, 0]);
}

/** What has been reported, but for groups that lack a part. */
function reported(
  { from, type, over }: Row,
  readings: readonly Reading[],
): (ReadObject & { tally: Tally })[] {
  const those = readings.filter(({ object }) => [from].flat().includes(object));
  const lacking = new Set(
    those.filter(({ figures }) => !figures).map(({ object, group }) => `${object} ${group}`),
  );
  return those.flatMap(({ figures, ...object }) => {
    if (!figures || (over !== "each" && lacking.has(`${object.object} ${object.group}`))) return [];
    return [{ ...object, tally: type === "gauge" ? figures.gauges : figures.counts }];
  });
}

const labelsIn = ({ labels }: Row, parts: readonly string[]): Labels =>
  Object.fromEntries(labels.map((label, i) => [label, parts[i] ?? ""]));

function ownLabels({ over }: Row, { object, name, group }: ReadObject): Labels {
  if (over === "each") return { object, name };
  if (over === "kind") return { object };
  return object === "semaphore" ? { upstream: group } : {};
}

/** Which objects have reported: the first thing to look at. */
export function upOf(readings: readonly Reading[]): Family {
  const samples = readings.map(
    ({ object, name, figures }): Sample => ({ labels: { object, name }, value: figures ? 1 : 0 }),
  );
  return {
    name: "sluice_object_up",
    type: "gauge",
    help: "1 if the object has reported. While one has not, what is added up over it and others is left out.",
    samples,
  };
}
