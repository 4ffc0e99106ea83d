/**
 * How precise the sketches of a column are. All columns of a file share the room of one checkpoint, so the more columns
 * there are, the less each one keeps.
 */

export interface Precision {
  /** Up to this many columns. */
  maxColumns: number;
  /** Of HyperLogLog: 2^this registers. 0: no estimate of different values. */
  distinct: number;
  /** How many of the most frequent values are kept. */
  frequent: number;
  /** Bins of the quantile sketch. 0: no quantiles. */
  bins: number;
  /** How many bytes of a text are kept, to show it. 0: no least and greatest text. */
  textBytes: number;
}

export const MAX_COLUMNS = 10_000;

const COARSEST: Precision = { maxColumns: MAX_COLUMNS, distinct: 0, frequent: 0, bins: 0, textBytes: 0 };
/** The most precise first. Each keeps as many columns as it may have within a checkpoint. */
const PRECISIONS: readonly Precision[] = [
  { maxColumns: 24, distinct: 13, frequent: 128, bins: 2048, textBytes: 48 },
  { maxColumns: 60, distinct: 12, frequent: 64, bins: 1024, textBytes: 32 },
  { maxColumns: 200, distinct: 10, frequent: 20, bins: 384, textBytes: 24 },
  { maxColumns: 600, distinct: 8, frequent: 8, bins: 128, textBytes: 16 },
  { maxColumns: 2_000, distinct: 6, frequent: 2, bins: 32, textBytes: 12 },
  COARSEST,
];

/** Levels count from 0, the most precise. */
export const COARSEST_LEVEL = PRECISIONS.length - 1;

export const precisionAt = (level: number): Precision => PRECISIONS[level] ?? COARSEST;

/** The level for a number of columns, at most `MAX_COLUMNS`. */
export function levelFor(columns: number): number {
  const level = PRECISIONS.findIndex(({ maxColumns }) => columns <= maxColumns);
  return level < 0 ? COARSEST_LEVEL : level;
}
