/**
 * A cron pattern in words: minute, hour, day of the month, month, day of the week, as croner reads them. It only tells what a
 * pattern says; whether it is valid, the server decides, and lists the next ticks.
 */

const MONTHS = "January February March April May June July August September October November December".split(
  " ",
);
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** One field: how its values are called. */
interface Field {
  unit: string;
  /** The name of a value; undefined if it is none. */
  nameOf: (value: string) => string | undefined;
}

const numberUpTo = (max: number) => (value: string) =>
  /^\d{1,2}$/.test(value) && Number(value) <= max ? String(Number(value)) : undefined;
const nameIn = (names: readonly string[], first: number) => (value: string) =>
  names[
    /^\d{1,2}$/.test(value)
      ? Number(value) - first
      : names.findIndex((name) => [name, name.slice(0, 3)].some((text) => isSame(text, value)))
  ];

const isSame = (a: string, b: string) => a.toUpperCase() === b.toUpperCase();

const NICKNAMES: Readonly<Record<string, string>> = {
  "@hourly": "0 * * * *",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@weekly": "0 0 * * 0",
  "@monthly": "0 0 1 * *",
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
};

const MINUTE: Field = { unit: "minute", nameOf: numberUpTo(59) };
const HOUR: Field = { unit: "hour", nameOf: numberUpTo(23) };
const DAY: Field = { unit: "day", nameOf: dayName };
const MONTH: Field = { unit: "month", nameOf: nameIn(MONTHS, 1) };
const WEEKDAY: Field = { unit: "day of the week", nameOf: weekdayName };

/** So many times of a day are listed one by one. */
const MAX_TIMES = 6;

/** The pattern in words, such as "at 02:30 on Monday to Friday"; undefined if some of it has no words. */
export function cronInWords(cron: string): string | undefined {
  const text = NICKNAMES[cron.trim().toLowerCase()] ?? cron;
  const [minute, hour, day, month, weekday, ...rest] = text.trim().replaceAll("?", "*").split(/\s+/);
  if (!minute || !hour || !day || !month || !weekday || rest.length > 0) return undefined;
  const time = timeWords(minute, hour);
  const days = dayWords(day, weekday);
  const months = month === "*" ? "" : prefixed(" in ", listWords(month, MONTH));
  if (time === undefined || days === undefined || months === undefined) return undefined;
  const isEveryDay = days === "" && time.startsWith("at ") && !time.includes("every");
  return `${time}${isEveryDay ? " every day" : days}${months}`;
}

function timeWords(minute: string, hour: string): string | undefined {
  const [minutes, hours] = [numbersIn(minute, MINUTE), numbersIn(hour, HOUR)];
  if (minutes && hours && minutes.length * hours.length <= MAX_TIMES) {
    const times = hours.flatMap((h) => minutes.map((m) => `${h.padStart(2, "0")}:${m.padStart(2, "0")}`));
    return `at ${join(times)}`;
  }
  if (minute === "0" && hour === "*") return "every hour, on the hour";
  const every = /^\*(\/\d+)?$/.test(minute) || minute.includes("/");
  const ofMinutes = every ? listWords(minute, MINUTE) : prefixed("at minute ", listWords(minute, MINUTE));
  if (hour === "*") return every ? ofMinutes : ofMinutes && `${ofMinutes} of every hour`;
  const ofHours = listWords(hour, HOUR);
  const named = ofHours && (ofHours.startsWith("every") ? ofHours : `the hours ${ofHours}`);
  return ofMinutes && named && `${ofMinutes} of ${named}`;
}

/** The values of a field that is nothing but a list of them. */
function numbersIn(text: string, { nameOf }: Field): string[] | undefined {
  const names = text.split(",").map(nameOf);
  return names.every((name) => name !== undefined) ? names : undefined;
}

/** Of two days that are both given, either will do, as cron has it; with a `+`, only both. */
function dayWords(day: string, weekday: string): string | undefined {
  const needsBoth = weekday.startsWith("+");
  const week = needsBoth ? weekday.slice(1) : weekday;
  const ofMonth = day === "*" ? "" : prefixed(" on ", withOfMonth(listWords(day, DAY)));
  const ofWeek = week === "*" ? "" : prefixed(" on ", listWords(week, WEEKDAY));
  if (ofMonth === undefined || ofWeek === undefined) return undefined;
  if (ofMonth === "" || ofWeek === "") return ofMonth + ofWeek;
  return needsBoth ? `${ofMonth}, if that is${ofWeek}` : `${ofMonth}, or${ofWeek}`;
}

const withOfMonth = (words: string | undefined) => words && `${words} of the month`;

function dayName(value: string): string | undefined {
  if (/^LW$/i.test(value)) return "the last weekday";
  if (/^L$/i.test(value)) return "the last day";
  const [, near] = /^(\d{1,2})W$/i.exec(value) ?? [];
  if (near !== undefined) return `the weekday nearest to day ${Number(near)}`;
  const number = numberUpTo(31)(value);
  return number === undefined || number === "0" ? undefined : `day ${number}`;
}

function weekdayName(value: string): string | undefined {
  const [, name = "", which] = /^(\w+?)(?:#([1-5L])|(?<=\d|[A-Z]{3})L)?$/i.exec(value) ?? [];
  const isLast = which?.toUpperCase() === "L" || (which === undefined && name !== value);
  const day = nameIn([...DAYS, "Sunday"], 0)(name);
  if (day === undefined) return undefined;
  if (isLast) return `the last ${day} of the month`;
  return which === undefined ? day : `the ${ordinal(Number(which))} ${day} of the month`;
}

/** What a field lists, such as "1, 3 and 5 to 7"; undefined if it has something unknown. */
function listWords(text: string, field: Field): string | undefined {
  const parts = text.split(",").map((part) => partWords(part, field));
  return parts.every((part) => part !== undefined) ? join(parts) : undefined;
}

function partWords(part: string, { unit, nameOf }: Field): string | undefined {
  const [, range = "", step] = /^([^/]+)(?:\/(\d+))?$/.exec(part) ?? [];
  const every = step === undefined || step === "1" ? `every ${unit}` : everyWords(Number(step), unit);
  if (range === "*") return every;
  const [from = "", to, ...rest] = range.split("-").map(nameOf);
  if (from === "" || rest.length > 0 || (range.includes("-") && to === undefined)) return undefined;
  const words = to === undefined ? from : `${from} to ${to.replace(/^day /, "")}`;
  return step === undefined ? words : `${every} from ${to === undefined ? `${words} on` : words}`;
}

/** Minutes and hours are counted, days and months are numbered. */
const everyWords = (step: number, unit: string) =>
  unit === "minute" || unit === "hour" ? `every ${step} ${unit}s` : `every ${ordinal(step)} ${unit}`;

function ordinal(number: number): string {
  const end = number % 100 > 10 && number % 100 < 14 ? "th" : (["th", "st", "nd", "rd"][number % 10] ?? "th");
  return `${number}${end}`;
}

const prefixed = (prefix: string, words: string | undefined) => words && prefix + words;

const join = (words: readonly string[]): string =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1) ?? ""}`;
