import { addUsage, priceOf, type Usage } from "../../test/support/platform/usage.ts";

/** What the Free plan includes each day (R2: a thirtieth of a month). Beyond that, calls fail until midnight UTC. */
const FREE_PER_DAY: Readonly<Partial<Usage>> = {
  requests: 100_000,
  objectRequests: 100_000,
  rowsWritten: 100_000,
  classA: 1_000_000 / 30,
  classB: 10_000_000 / 30,
  logEvents: 200_000,
};

const COLUMNS: [string, (usage: Usage) => string][] = [
  ["requests", ({ requests }) => String(requests)],
  ["object requests", ({ objectRequests }) => String(objectRequests)],
  ["rows written", ({ rowsWritten }) => String(rowsWritten)],
  ["R2 A", ({ classA }) => String(classA)],
  ["R2 B", ({ classB }) => String(classB)],
  ["log events", ({ logEvents }) => String(logEvents)],
  ["subrequests", ({ internal, external }) => String(internal + external)],
  ["$ a million", (usage) => (priceOf(usage) * 1e6).toFixed(2)],
  ["a day on Free", (usage) => perDayOnFree(usage).toLocaleString("en")],
];

/** How often a day the Free plan bears it. */
function perDayOnFree(usage: Usage): number {
  const shares = Object.entries(FREE_PER_DAY).map(
    ([name, included]) => included / usage[name as keyof Usage],
  );
  return Math.floor(Math.min(...shares));
}

/** The table for the README, in Markdown. */
export function renderCosts(costs: ReadonlyMap<string, Usage>): string {
  const lines = [
    ["", ...COLUMNS.map(([name]) => name)],
    ["---", ...COLUMNS.map(() => "---:")],
    ...[...costs].map(([name, usage]) => [name, ...COLUMNS.map(([, show]) => show(usage))]),
  ];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** Large uploads grow by the piece: what `count` pieces of the size of those between two measured uploads cost. */
export function extrapolate(smaller: Usage, larger: Usage, pieces: number): Usage {
  const step = addUsage({ ...larger }, smaller, -1);
  return addUsage({ ...smaller }, step, pieces);
}
