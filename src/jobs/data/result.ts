/** What an analysis has found, as JSON, with the error of each estimate. */
import type { Analysis } from "./analysis.ts";
import { type Charset, displayCharset } from "./charset.ts";
import type { Column } from "./column.ts";
import type { Plan } from "./format.ts";
import { DECIMAL, INTEGER, KINDS, NULL } from "./kinds.ts";
import type { MalformedRows } from "./malformed.ts";
import { type Bin, quantilesOf } from "./sketches/quantiles.ts";

const SHARES = { p01: 0.01, p05: 0.05, p25: 0.25, p50: 0.5, p75: 0.75, p95: 0.95, p99: 0.99 };
const MAX_FREQUENT = 10;

export interface FrequentValue {
  value: string;
  /** How often it came, at least. */
  count: number;
  countAtMost: number;
}

export interface NumberStatistics {
  count: number;
  min: number;
  max: number;
  mean: number;
  /** Of a sample; null for fewer than two numbers. */
  standardDeviation: number | null;
  /** Null where there are too many columns for them. */
  quantiles: Record<string, number> | null;
  /** By how much a quantile may be off, as a share of itself. */
  quantileError: number | null;
}

export interface ColumnResult {
  name: string;
  /** The kind of all its values: `mixed` if there are several, `empty` if there are no values. */
  type: string;
  /** How many values there are of each kind. */
  kinds: Record<string, number>;
  nulls: number;
  /** How many different values there are; null where there are too many columns to tell. */
  distinct: number | null;
  /** Whether they were counted one by one. Otherwise it is an estimate. */
  distinctIsExact: boolean;
  /** The least and the greatest of the numbers, the dates or the texts, as the type says; null in a mixed column. */
  min: number | string | null;
  max: number | string | null;
  /** Of all values that are numbers; null if none is. */
  numbers: NumberStatistics | null;
  /** Values that surely came more often than any that is not in the list could have; the most frequent first. */
  frequent: FrequentValue[];
}

/** With what a report draws, and the result leaves out. */
export interface ColumnDetail {
  result: ColumnResult;
  bins: Bin[];
}

export interface AnalysisResult {
  format: Record<string, unknown>;
  /** Malformed ones included: they count as rows, and in no column. */
  rows: number;
  blankLines: number;
  malformed: MalformedRows;
  columnCount: number;
  /** How precise the estimates are: the more columns, the less. */
  precision: {
    distinctError: number | null;
    frequentShare: number;
    quantileBins: number;
    shownBytes: number;
  };
}

export function summarize(
  plan: Plan,
  { columns, malformed, rows, blankLines, charset }: Analysis,
): AnalysisResult {
  const { precision } = columns;
  return {
    format: describeFormat(plan, charset),
    rows,
    blankLines,
    malformed,
    columnCount: columns.names.length,
    precision: {
      distinctError: precision.distinct > 0 ? round(1.04 / Math.sqrt(2 ** precision.distinct)) : null,
      frequentShare: round(1 / (precision.frequent + 1)),
      quantileBins: precision.bins,
      shownBytes: precision.textBytes,
    },
  };
}

/** One after the other: of 10,000 columns, all at once would take a while. */
export function* describeColumns({ columns, malformed, rows, charset }: Analysis): Generator<ColumnDetail> {
  const decoder = new TextDecoder(displayCharset(charset));
  for (const [i, name] of columns.names.entries()) {
    const column = columns.columns[i];
    if (column) yield describeColumn(name, column, rows - malformed.count, decoder);
  }
}

function describeFormat(plan: Plan, charset: Charset): Record<string, unknown> {
  const { format: type } = plan;
  if (type === "parquet") return { type, nulls: plan.nulls };
  const text = { compression: plan.isGzip ? "gzip" : null, charset: charset === "ascii" ? "utf-8" : charset };
  if (type === "ndjson") return { type, ...text, nulls: plan.nulls };
  const { delimiter, quote, endsWithCr, decimal, nulls } = plan.csv;
  return {
    type,
    ...text,
    delimiter: String.fromCharCode(delimiter),
    quote: quote < 0 ? "" : String.fromCharCode(quote),
    header: plan.header,
    decimal,
    lineEnd: endsWithCr ? "CR" : "LF",
    nulls,
  };
}

type Facts = ReturnType<Column["read"]>;

function describeColumn(name: string, column: Column, rows: number, decoder: TextDecoder): ColumnDetail {
  const facts = column.read();
  const counted = KINDS.flatMap((kind, i) => {
    const count = facts.kinds[i] ?? 0;
    return i === NULL || count === 0 ? [] : [[kind, count] as const];
  });
  const values = counted.reduce((sum, [, count]) => sum + count, 0);
  const kinds = Object.fromEntries(counted);
  const type = typeOf(Object.keys(kinds));
  const { table } = facts;
  const bins = binsOf(facts);
  const result: ColumnResult = {
    name: showText(name),
    type,
    kinds,
    nulls: rows - values,
    distinct: countDistinct(facts, values),
    distinctIsExact: table.isComplete,
    ...limitsOf(type, facts, decoder),
    numbers: describeNumbers(facts, bins),
    frequent: listFrequent(facts, decoder),
  };
  return { result, bins };
}

/** Whole numbers are decimal ones too, and dates are dates with a time. */
function typeOf(kinds: string[]): string {
  const [first = "empty", ...others] = kinds;
  if (others.length === 0) return first;
  const all = kinds.toSorted().join();
  if (all === "decimal,integer") return "decimal";
  return all === "date,datetime" ? "datetime" : "mixed";
}

function countDistinct({ table, distinct }: Facts, values: number): number | null {
  if (table.isComplete) return placesOf(table, (kind) => kind !== NULL).length;
  return distinct ? Math.min(values, Math.round(distinct.estimate())) : null;
}

/** Where in a table the values of some kinds are. */
function placesOf(table: Facts["table"], isWanted: (kind: number) => boolean): number[] {
  return Array.from({ length: table.size }, (_, place) => place).filter((place) =>
    isWanted(table.kinds[place] ?? NULL),
  );
}

/** Where the table has all numbers, each has a bin of its own. */
function binsOf({ table, quantiles }: Facts): Bin[] {
  if (!table.isComplete || !quantiles) return quantiles?.bins() ?? [];
  return placesOf(table, (kind) => kind === INTEGER || kind === DECIMAL)
    .map((place) => {
      const number = table.numbers[place] ?? 0;
      return { from: number, to: number, count: table.counts[place] ?? 0 };
    })
    .toSorted((a, b) => a.from - b.from);
}

function limitsOf(type: string, facts: Facts, decoder: TextDecoder): Pick<ColumnResult, "min" | "max"> {
  const { numbers, earliestMs, latestMs, least, greatest, textBytes } = facts;
  const show = (text: Uint8Array | undefined) => text && showBytes(text, text.length < textBytes, decoder);
  const date = (timeMs: number) => new Date(timeMs).toISOString().slice(0, type === "date" ? 10 : undefined);
  if (type === "integer" || type === "decimal") return { min: numbers.min, max: numbers.max };
  if (type === "date" || type === "datetime") return { min: date(earliestMs), max: date(latestMs) };
  if (type === "text") return { min: show(least) ?? null, max: show(greatest) ?? null };
  return { min: null, max: null };
}

function describeNumbers({ numbers, quantiles, table }: Facts, bins: Bin[]): NumberStatistics | null {
  if (numbers.count === 0) return null;
  const { count, min, max, mean, standardDeviation } = numbers;
  const estimates = quantilesOf(bins, Object.values(SHARES)).map((value) =>
    Math.min(Math.max(value, min), max),
  );
  return {
    count,
    min,
    max,
    mean: finite(mean) ?? 0,
    standardDeviation: finite(standardDeviation),
    quantiles: quantiles
      ? Object.fromEntries(Object.keys(SHARES).map((name, i) => [name, estimates[i] ?? min]))
      : null,
    quantileError: quantiles ? (table.isComplete ? 0 : round(quantiles.relativeError)) : null,
  };
}

function listFrequent({ table }: Facts, decoder: TextDecoder): FrequentValue[] {
  const count = (place: number) => table.counts[place] ?? 0;
  return placesOf(table, (kind) => kind !== NULL)
    .filter((place) => count(place) > table.missed)
    .toSorted((a, b) => count(b) - count(a))
    .slice(0, Math.min(table.keep, MAX_FREQUENT))
    .map((place) => {
      const { bytes, isWhole } = table.text(place);
      const value = showBytes(bytes, isWhole, decoder);
      return { value, count: count(place), countAtMost: count(place) + table.missed };
    });
}

/** A cut may have gone through a character. */
function showBytes(bytes: Uint8Array, isWhole: boolean, decoder: TextDecoder): string {
  const text = showText(decoder.decode(bytes));
  return isWhole ? text : `${text.replace(/\ufffd+$/, "")}…`;
}

/** A NUL ends the text in many places: its picture stands for it. */
const showText = (text: string) => text.replaceAll("\0", "␀").toWellFormed();

const finite = (value: number) => (Number.isFinite(value) ? value : null);
const round = (value: number) => Number(value.toPrecision(3));
