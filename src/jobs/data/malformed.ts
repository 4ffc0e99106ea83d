/** The rows that could not be read: how many for each reason, and the first of them one by one. */
import { z } from "zod";

const MAX_LISTED = 100;

const count = z.int().min(0);
export const malformedRowsSchema = z.object({
  count,
  reasons: z.record(z.string(), count),
  listed: z.array(
    z.object({
      /** Of all rows of data, malformed ones included; the first is 1. */
      row: count,
      /** Of the file; the first is 1. */
      line: count,
      reason: z.string(),
      detail: z.string(),
    }),
  ),
});
export type MalformedRows = z.output<typeof malformedRowsSchema>;

export const noMalformedRows = (): MalformedRows => ({ count: 0, reasons: {}, listed: [] });

export function addMalformed(rows: MalformedRows, row: MalformedRows["listed"][number]): void {
  rows.count++;
  rows.reasons[row.reason] = (rows.reasons[row.reason] ?? 0) + 1;
  if (rows.listed.length < MAX_LISTED) rows.listed.push(row);
}
