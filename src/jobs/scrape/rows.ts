/**
 * The items of a collection as the file has them: a JSON object a line, or the rows of a CSV (RFC 4180).
 *
 * A CSV has its columns in its first line, so they are settled with the first page: those that were asked for, or the
 * members of its items. What later items have besides is named in the result.
 */
import { isRawNumber } from "./json-exact.ts";

export type Format = "ndjson" | "csv";

export interface Rows {
  text: string;
  columns: string[];
  /** Members that no column takes. */
  unknown: string[];
}

/** More would be a table that nobody reads. */
export const MAX_COLUMNS = 1_000;
/** The column of items that are no objects. */
const VALUE_COLUMN = "value";

export function toRows(format: Format, items: readonly unknown[], columns: string[] | undefined): Rows {
  if (format === "ndjson")
    return { text: items.map((item) => `${JSON.stringify(item)}\n`).join(""), columns: [], unknown: [] };
  const settled = columns ?? membersOf(items);
  const known = new Set(settled);
  return {
    text: items.map((item) => toLine(settled.map((column) => cellOf(item, column)))).join(""),
    columns: settled,
    unknown: membersOf(items).filter((member) => !known.has(member)),
  };
}

/** The first line of a CSV. */
export const headerLine = (columns: string[]): string => toLine(columns);

function membersOf(items: readonly unknown[]): string[] {
  const members = new Set<string>();
  for (const item of items)
    for (const member of isRecord(item) ? Object.keys(item) : [VALUE_COLUMN]) members.add(member);
  return [...members];
}

function cellOf(item: unknown, column: string): string {
  const value = isRecord(item) ? own(item, column) : column === VALUE_COLUMN ? item : undefined;
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

const own = (item: Record<string, unknown>, key: string): unknown =>
  Object.hasOwn(item, key) ? item[key] : undefined;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !isRawNumber(value);

/** A cell needs quotes if it has a separator, a quote or a line end, or white space that readers would trim. */
const toLine = (cells: string[]): string =>
  `${cells.map((cell) => (/[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")}\r\n`;
