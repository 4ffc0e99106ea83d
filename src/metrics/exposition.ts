/**
 * Metrics as text, in both formats that scrapers read:
 *
 * - OpenMetrics 1.0 (github.com/prometheus/OpenMetrics, specification/OpenMetrics.md, "Text format"), with units and
 *   `# EOF`. A family's name has no suffix there, and its samples do: `_total`, `_bucket`, `_info`.
 * - the older text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats), in which a family has the
 *   name of its samples, and there is no type for information.
 *
 * What must not be in a name or value is escaped or refused by construction: names are in the code, values of labels are
 * escaped here.
 */
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  labels: Labels;
  value: number;
}

/** Durations in buckets, not cumulative: one more than there are bounds. `sum`: in seconds. */
export interface HistogramSample {
  labels: Labels;
  counts: readonly number[];
  sum: number;
}

interface Described {
  /** Without a suffix. Ends with the unit, if it has one. */
  name: string;
  help: string;
  unit?: "seconds" | "bytes";
}

export type Family = Described &
  (
    | { type: "counter" | "gauge" | "info"; samples: readonly Sample[] }
    | { type: "histogram"; bounds: readonly number[]; samples: readonly HistogramSample[] }
  );

export type Format = "openmetrics" | "text";

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  text: "text/plain; version=0.0.4; charset=utf-8",
};

/** The format that an `Accept` header prefers (RFC 9110 §12.5.1): the older one, unless the other is named and no less liked. */
export function negotiate(accept: string | undefined): Format {
  const ranges = (accept ?? "").split(",").map((range) => {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    return { type, q: q === undefined ? 1 : Number(q.slice(2)) || 0 };
  });
  const liked = (wanted: string) =>
    Math.max(0, ...ranges.flatMap(({ type, q }) => (type === wanted ? [q] : [])));
  const openmetrics = liked("application/openmetrics-text");
  return openmetrics > 0 && openmetrics >= liked("text/plain") ? "openmetrics" : "text";
}

export function render(families: readonly Family[], format: Format): string {
  const lines = families
    .filter(({ samples }) => samples.length > 0)
    .flatMap((one) => renderFamily(one, format));
  return [...lines, ...(format === "openmetrics" ? ["# EOF"] : []), ""].join("\n");
}

function renderFamily(family: Family, format: Format): string[] {
  const { help, unit } = family;
  const suffix = { counter: "_total", info: "_info", gauge: "", histogram: "" }[family.type];
  const isOpen = format === "openmetrics";
  const name = isOpen ? family.name : family.name + suffix;
  const type = !isOpen && family.type === "info" ? "gauge" : family.type;
  const head = [
    `# TYPE ${name} ${type}`,
    ...(isOpen && unit ? [`# UNIT ${name} ${unit}`] : []),
    `# HELP ${name} ${escape(help, isOpen)}`,
  ];
  const samples =
    family.type === "histogram"
      ? family.samples.flatMap((sample) => renderHistogram(family.name, family.bounds, sample))
      : family.samples.map(({ labels, value }) => line(family.name + suffix, labels, value));
  return [...head, ...samples];
}

/** Buckets are cumulative, and the last one, of everything, is there too. */
function renderHistogram(
  name: string,
  bounds: readonly number[],
  { labels, counts, sum }: HistogramSample,
): string[] {
  let total = 0;
  const buckets = [...bounds, Infinity].map((bound, i) => {
    total += counts[i] ?? 0;
    return line(`${name}_bucket`, { ...labels, le: bound === Infinity ? "+Inf" : canonical(bound) }, total);
  });
  return [...buckets, line(`${name}_count`, labels, total), line(`${name}_sum`, labels, sum)];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escape(text, true)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
}

/** OpenMetrics, "Considerations: Canonical Numbers": a bound is written as a float. */
const canonical = (bound: number) => (Number.isInteger(bound) ? bound.toFixed(1) : String(bound));

/** A help text of the older format has its quotes as they are. */
function escape(text: string, quotes: boolean): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return quotes ? escaped.replaceAll('"', '\\"') : escaped;
}
