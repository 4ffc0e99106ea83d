/** The targets of a part of the bench: each with the figure of before, that of this run, and whether it is met. */

export interface Target {
  what: string;
  /** How this was before, as text; empty if it was not measured. */
  before: string;
  value: number;
  digits?: number;
  atLeast?: number;
  atMost?: number;
}

export function renderTargets(targets: Target[]): string {
  const rows = targets.map(({ what, before, value, digits = 2, atLeast, atMost }) => {
    const isMet = value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity);
    const limit = atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`;
    return [what, before, value.toFixed(digits), limit, isMet ? "met" : "missed"];
  });
  const all = [["target", "before", "now", "", ""], ...rows];
  const widths = [0, 1, 2, 3].map((i) => Math.max(...all.map((row) => row[i]?.length ?? 0)));
  return all
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))),
    )
    .map((cells) => cells.join("   ").trimEnd())
    .join("\n");
}
