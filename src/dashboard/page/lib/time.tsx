/** Times, relative and in the viewer's zone. The exact one, in UTC, shows on hover and stands in the markup. */
import { signal } from "@preact/signals";
import { isSelecting } from "./selection.ts";

/** The time, each second while the page is seen and nothing of it is being selected. */
export const nowMs = signal(Date.now());
setInterval(() => {
  if (!document.hidden && !isSelecting.value) nowMs.value = Date.now();
}, 1_000);

const DAY_MS = 86_400_000;
const UNITS: [unit: Intl.RelativeTimeFormatUnit, ms: number][] = [
  ["day", DAY_MS],
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

/** A time in the viewer's zone, and exactly, in UTC. */
export const exactText = (time: string): string => `${exact.format(new Date(time))} (${time})`;

export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 2 * 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 48 * 3_600_000 ? `${(ms / 3_600_000).toFixed(1)} h` : `${(ms / DAY_MS).toFixed(1)} days`;
}

/** How long ago, or in how long. */
export function Ago({ time }: { time: string }) {
  return (
    <time dateTime={time} title={exactText(time)}>
      {describe(Date.parse(time) - nowMs.value)}
    </time>
  );
}

/** A countdown: in seconds, or longer units for what is far away. */
export function Until({ time }: { time: string }) {
  const ms = Math.max(0, Date.parse(time) - nowMs.value);
  return (
    <time dateTime={time} title={exactText(time)}>
      {ms < 120_000 ? `${Math.ceil(ms / 1_000)} s` : durationText(ms)}
    </time>
  );
}

/** How long something took; until now if it goes on. */
export function Duration({ from, to }: { from: string; to: string | null }) {
  const endMs = to === null ? nowMs.value : Date.parse(to);
  return (
    <span title={`${from} to ${to ?? "now"}`}>{durationText(Math.max(0, endMs - Date.parse(from)))}</span>
  );
}
