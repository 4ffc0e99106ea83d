/**
 * A value as JSON for readers: its members sorted by name, whatever order they came in, and each number in the shortest
 * form that is exactly it (ECMA-262 §6.1.6.1.20), without rounding or separators of thousands.
 */
export const sortedJson = (value: unknown): string => JSON.stringify(sorted(value), null, 2) ?? "null";

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries.map(([name, member]) => [name, sorted(member)]));
}
