/**
 * The rows of the beginning of a CSV file (RFC 4180). What a cut leaves of the last one is a row too. The delimiter is what the
 * first line has most of.
 */
export function parseCsv(text: string): string[][] {
  const [first = ""] = text.split(/\r?\n/, 1);
  const count = (delimiter: string) => first.split(delimiter).length;
  const delimiter = [",", ";", "\t"].reduce((best, next) => (count(next) > count(best) ? next : best));
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${delimiter}\\r\\n]*))(${delimiter}|\\r?\\n|$)`, "g");
  const rows: string[][] = [[]];
  for (const [, quoted, plain = "", end = ""] of text.replace(/^\ufeff/, "").matchAll(cell)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end.endsWith("\n")) rows.push([]);
    if (end === "") break;
  }
  return rows.filter((row) => row.length > 0 && !(row.length === 1 && row[0] === ""));
}
