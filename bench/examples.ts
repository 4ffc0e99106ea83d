/** The four examples, beside the FastAPI program that a user would write instead. */
import type { Contender } from "./contender.ts";
import { findPython, PACKAGES, startFastApi } from "./fastapi/start.ts";
import { measureCalls, measureCeiling, measureRunTasks } from "./load.ts";
import { startSluice } from "./sluice.ts";
import { startUpstream, type Upstream } from "./support/upstream.ts";
import { type Column, type Figure, renderTable } from "./table.ts";
import { measureUpload } from "./upload.ts";

const SHORT_MS = 20;
const LONG_MS = 100;

/** Measures both, and returns the text to print. */
export async function benchExamples(): Promise<string> {
  const python = findPython();
  await using upstream = await startUpstream();
  await using sluice = await startSluice(upstream.url);
  await using fastApi = python && (await startFastApi(python, upstream.url));
  const ceilings = [await measureCeiling(upstream, SHORT_MS), await measureCeiling(upstream, LONG_MS)];
  const columns = await measure(fastApi ? [sluice, fastApi] : [sluice], upstream);
  const missing = `not measured: Python 3 lacks some of ${PACKAGES.join(", ")} here`;
  return [`FastAPI: ${python?.description ?? missing}`, "", renderTable(columns), "", explain(ceilings)].join(
    "\n",
  );
}

/** Runs each scenario on every contender, one right after the other. */
async function measure(contenders: Contender[], upstream: Upstream): Promise<Column[]> {
  const scenarios: [string, (contender: Contender) => Promise<Figure[]>][] = [
    ["/run-tasks", measureRunTasks],
    [`/data, upstream ${SHORT_MS} ms`, async ({ server }) => measureData(server.url, upstream, SHORT_MS)],
    [`/data, upstream ${LONG_MS} ms`, async ({ server }) => measureData(server.url, upstream, LONG_MS)],
    ["/upload-file", measureUpload],
  ];
  const columns = contenders.map(({ name }): Column => ({ name, figures: [] }));
  for (const [what, run] of scenarios) {
    for (const [i, contender] of contenders.entries()) {
      console.error(`measuring ${what} on ${contender.name} …`);
      columns[i]?.figures.push(...(await run(contender)));
    }
  }
  return columns;
}

const measureData = async (url: string, upstream: Upstream, delayMs: number): Promise<Figure[]> =>
  measureCalls(`/data, upstream ${delayMs} ms`, `${url}/data`, upstream, delayMs);

function explain(ceilings: number[]): string {
  const [short, long] = ceilings.map((ceiling) => ceiling.toFixed(3));
  return [
    "Permit utilisation is the mean number of calls in flight, as the upstream counts it, ÷ its limit. On this",
    `machine, as many clients as permits, calling it directly, reach ${short} (${SHORT_MS} ms) and ${long} (${LONG_MS} ms).`,
    "Memory is that of one process: for Sluice, workerd with the Worker, its Durable Objects and the simulated R2;",
    "for FastAPI, uvicorn.",
  ].join("\n");
}
