/** The rows that could not be read: how many for each reason, and the first of them one by one. */

const MAX_LISTED = 100;

export interface MalformedRow {
  /** Of all rows of data, malformed ones included; the first is 1. */
  row: number;
  /** Of the file; the first is 1. Not known in Parquet. */
  line: number;
  reason: string;
  detail: string;
}

export class MalformedRows {
  count = 0;
  reasons: Record<string, number> = {};
  listed: MalformedRow[] = [];

  add(row: MalformedRow): void {
    this.count++;
    this.reasons[row.reason] = (this.reasons[row.reason] ?? 0) + 1;
    if (this.listed.length < MAX_LISTED) this.listed.push(row);
  }
}
