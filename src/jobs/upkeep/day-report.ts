/** A day's numbers as a report for people. */
import type { PdfDocument } from "../pdf/index.ts";
import type { DayData } from "./day-data.ts";

type Block = PdfDocument["blocks"][number];

export function dayReport(data: DayData): PdfDocument {
  const { date, timeZone, collectedAt, tasks, files, upstreams, unavailable } = data;
  const time = collectedAt.replace("T", " ").slice(0, 16);
  return {
    title: `Sluice, ${date}`,
    blocks: [
      { type: "heading", level: 1, text: `Report of ${date}` },
      {
        type: "paragraph",
        text: `Hours are those of ${timeZone}. The numbers were collected on ${time} UTC.`,
      },
      ...taskBlocks(tasks),
      ...fileBlocks(files),
      ...upstreamBlocks(upstreams, unavailable),
    ],
  };
}

const hourLabels = (hours: readonly unknown[]) => hours.map((_, hour) => `${hour}`);

function taskBlocks({ byType, byHour, ...all }: DayData["tasks"]): Block[] {
  const heading: Block = { type: "heading", level: 2, text: "Tasks" };
  if (all.created === 0) return [heading, { type: "paragraph", text: "No task was created." }];
  const share =
    all.succeeded + all.failed === 0
      ? ""
      : ` ${percent(all.failed, all.succeeded + all.failed)} of those that ended failed.`;
  return [
    heading,
    {
      type: "paragraph",
      text: `${all.created} created: ${all.succeeded} succeeded, ${all.failed} failed, ${all.cancelled} cancelled, ${all.active} not ended yet.${share}`,
    },
    {
      type: "chart",
      kind: "bar",
      title: "Tasks by the hour of their creation",
      labels: hourLabels(byHour),
      series: [
        { name: "succeeded", values: byHour.map(({ succeeded }) => succeeded) },
        { name: "failed", values: byHour.map(({ failed }) => failed) },
        { name: "other", values: byHour.map(({ cancelled, active }) => cancelled + active) },
      ],
    },
    {
      type: "table",
      columns: ["Type", "Created", "Succeeded", "Failed", "Cancelled", "Not ended", "Mean time"].map(
        (title) => ({ title }),
      ),
      rows: byType.map(({ type, created, succeeded, failed, cancelled, active, meanSeconds }) => [
        type,
        ...[created, succeeded, failed, cancelled, active].map(String),
        meanSeconds === null ? "" : `${meanSeconds} s`,
      ]),
    },
  ];
}

function fileBlocks({ kept, stored, byHour }: DayData["files"]): Block[] {
  const blocks: Block[] = [
    { type: "heading", level: 2, text: "Files" },
    {
      type: "paragraph",
      text: `${stored.count} stored on the day, with ${size(stored.bytes)}. In all, ${kept.count} are kept, with ${size(kept.bytes)}.`,
    },
  ];
  if (stored.count > 0)
    blocks.push({
      type: "chart",
      kind: "bar",
      title: "Files by the hour in which they were stored",
      labels: hourLabels(byHour),
      series: [
        { name: "uploaded", values: byHour.map(({ uploaded }) => uploaded) },
        { name: "made by tasks", values: byHour.map(({ made }) => made) },
      ],
    });
  return blocks;
}

function upstreamBlocks(upstreams: DayData["upstreams"], unavailable: string[]): Block[] {
  const blocks: Block[] = [{ type: "heading", level: 2, text: "Calls to upstreams" }];
  const called = upstreams.filter(({ calls, refused }) => calls + refused > 0);
  if (unavailable.length > 0)
    blocks.push({
      type: "paragraph",
      text: `The semaphores of these did not respond: ${unavailable.join(", ")}.`,
    });
  if (called.length === 0) return [...blocks, { type: "paragraph", text: "No upstream was called." }];
  blocks.push(
    {
      type: "chart",
      kind: "bar",
      title: "Calls by upstream",
      labels: called.map(({ name }) => name.slice(0, 100)),
      series: [
        { name: "ok", values: called.map(({ ok }) => ok) },
        { name: "failed", values: called.map(({ failed, overloaded }) => failed + overloaded) },
        { name: "refused", values: called.map(({ refused }) => refused) },
      ],
    },
    {
      type: "table",
      columns: [
        "Upstream",
        "Calls",
        "Ok",
        "Failed",
        "Overloaded",
        "Refused",
        "Retries",
        "p50",
        "p99",
        "Counted since (UTC)",
      ].map((title) => ({ title })),
      rows: called.map(({ name, calls, ok, failed, overloaded, refused, retries, latencyMs, since }) => [
        name,
        ...[calls, ok, failed, overloaded, refused, retries].map(String),
        ...[latencyMs?.p50, latencyMs?.p99].map((ms) => (ms === undefined ? "" : `${Math.round(ms)} ms`)),
        since.replace("T", " ").slice(0, 16),
      ]),
    },
  );
  return blocks;
}

const percent = (part: number, whole: number) => `${Math.round((1_000 * part) / whole) / 10} %`;

function size(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = bytes < 1_000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${Number((bytes / 1_000 ** power).toPrecision(3))} ${units[power]}`;
}
