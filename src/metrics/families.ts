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
import { FILE_ROWS } from "./file-rows.ts";
import { OBJECT_ROWS } from "./object-rows.ts";
import type { Row } from "./row.ts";
import { TASK_ROWS } from "./task-rows.ts";
import { UPSTREAM_ROWS } from "./upstream-rows.ts";

const ROWS: readonly Row[] = [...TASK_ROWS, ...OBJECT_ROWS, ...FILE_ROWS, ...UPSTREAM_ROWS];

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
