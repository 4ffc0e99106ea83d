/** Times, relative and in the viewer's zone. The exact one, in UTC, shows on hover and stands in the markup. */
import { signal } from "@preact/signals";

/** The time, each second. */
export const nowMs = signal(Date.now());
setInterval(() => {
  if (!document.hidden) nowMs.value = Date.now();
}, 1_000);

const UNITS: [unit: Intl.RelativeTimeFormatUnit, ms: number][] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function describe(ms: number): string {
  const [unit, size] = UNITS.find(([, length]) => Math.abs(ms) >= length) ?? ["second", 1_000];
  return relative.format(Math.trunc(ms / size), unit);
}

/** How long ago, or in how long. */
export function Ago({ time }: { time: string }) {
  return (
    <time dateTime={time} title={`${exact.format(new Date(time))} (${time})`}>
      {describe(Date.parse(time) - nowMs.value)}
    </time>
  );
}

/** A countdown, in seconds. */
export function Until({ time }: { time: string }) {
  const seconds = Math.max(0, Math.ceil((Date.parse(time) - nowMs.value) / 1_000));
  return (
    <time dateTime={time} title={time}>
      {seconds} s
    </time>
  );
}

/** How long something took; until now if it goes on. */
export function Duration({ from, to }: { from: string; to: string | null }) {
  const ms = Math.max(0, (to === null ? nowMs.value : Date.parse(to)) - Date.parse(from));
  const text =
    ms < 1_000
      ? `${ms} ms`
      : ms < 120_000
        ? `${(ms / 1_000).toFixed(1)} s`
        : `${Math.round(ms / 60_000)} min`;
  return <span>{text}</span>;
}
