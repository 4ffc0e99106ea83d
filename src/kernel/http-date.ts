/**
 * The dates of HTTP (RFC 9110 §5.6.7), in the three forms that a recipient must accept: IMF-fixdate, RFC 850 and
 * asctime. A form of its own, such as ISO 8601, is no date here, whatever JavaScript makes of it.
 */
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MONTH = `(?<month>${MONTHS.join("|")})`;
const TIME = String.raw`(?<hour>\d{2}):(?<minute>\d{2}):(?<second>\d{2})`;

const FORMS = [
  new RegExp(
    String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d{2}) ${MONTH} (?<year>\d{4}) ${TIME} GMT$`,
  ),
  new RegExp(
    String.raw`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d{2})-${MONTH}-(?<shortYear>\d{2}) ${TIME} GMT$`,
  ),
  new RegExp(String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${MONTH} (?<day>[ \d]\d) ${TIME} (?<year>\d{4})$`),
];

/** In ms since 1970; undefined if the text is none of the three forms, or names no day or time that there is. */
export function parseHttpDate(text: string, nowMs = Date.now()): number | undefined {
  const parts = FORMS.map((form) => form.exec(text.trim())?.groups).find((groups) => groups !== undefined);
  if (!parts) return undefined;
  const [day, hour, minute, second] = [parts.day, parts.hour, parts.minute, parts.second].map(Number);
  const month = MONTHS.indexOf(parts.month ?? "");
  const inYear = (year: number) => Date.UTC(year, month, day, hour, minute, second);
  const ms =
    parts.shortYear === undefined
      ? inYear(Number(parts.year))
      : ofShortYear(inYear, Number(parts.shortYear), nowMs);
  const date = new Date(ms);
  // A leap second, :60, is the next second.
  const isReal = date.getUTCDate() === day || second === 60;
  return isReal && Number(hour) < 24 && Number(minute) < 60 && Number(second) <= 60 ? ms : undefined;
}

/** A date with a year of two digits that seems more than 50 years ahead is the last one in the past with these digits. */
function ofShortYear(inYear: (year: number) => number, shortYear: number, nowMs: number): number {
  const thisYear = new Date(nowMs).getUTCFullYear();
  const year = thisYear - (thisYear % 100) + shortYear;
  const ms = inYear(year);
  return ms > new Date(nowMs).setUTCFullYear(thisYear + 50) ? inYear(year - 100) : ms;
}
