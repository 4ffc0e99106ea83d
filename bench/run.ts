/**
 * `npm run bench`: Sluice, and the FastAPI program that a user would write instead, measured in the same run.
 *
 * Figures of one machine and one minute say little; the ratio of two programs that were measured one after the
 * other, under the same load and against the same upstream, says more. All traffic stays on 127.0.0.1.
 */
import { availableParallelism, cpus } from "node:os";
import { CONCURRENCY, type Contender } from "./contender.ts";
import { findPython, PACKAGES, type Python, startFastApi } from "./fastapi/start.ts";
import { CLIENTS, measureCeiling, measureData, measureRunTasks } from "./load.ts";
import { startSluice } from "./sluice.ts";
import { startUpstream, type Upstream } from "./support/upstream.ts";
import { WORKERD_VERSION } from "./support/workerd.ts";
import { type Column, type Figure, renderTable } from "./table.ts";
import { measureUpload } from "./upload.ts";

const SHORT_MS = 20;
const LONG_MS = 100;

// Leaves by way of "exit", where everything that was started is ended.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

await main(findPython());

async function main(python: Python | undefined): Promise<void> {
  console.log(describeRun(python));
  await using upstream = await startUpstream();
  await using sluice = await startSluice(upstream.url);
  await using fastApi = python && (await startFastApi(python, upstream.url));
  const ceilings = [await measureCeiling(upstream, SHORT_MS), await measureCeiling(upstream, LONG_MS)];
  const columns = await measure(fastApi ? [sluice, fastApi] : [sluice], upstream);
  console.log(`\n${renderTable(columns)}\n`);
  console.log(explain(ceilings));
}

/** Runs each scenario on each contender, one right after the other. */
async function measure(contenders: Contender[], upstream: Upstream): Promise<Column[]> {
  const scenarios: [string, (contender: Contender) => Promise<Figure[]>][] = [
    ["/run-tasks", measureRunTasks],
    [`/data, upstream ${SHORT_MS} ms`, (contender) => measureData(contender, upstream, SHORT_MS)],
    [`/data, upstream ${LONG_MS} ms`, (contender) => measureData(contender, upstream, LONG_MS)],
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

function describeRun(python: Python | undefined): string {
  return [
    `Sluice    workerd ${WORKERD_VERSION}, uploads on Miniflare`,
    `FastAPI   ${python?.description ?? `not measured: Python 3 has not all of ${PACKAGES.join(", ")} here`}`,
    `Load      autocannon on Node ${process.versions.node}, ${CLIENTS} clients kept busy`,
    `Upstream  at most ${CONCURRENCY} calls at once`,
    `Machine   ${availableParallelism()} × ${cpus()[0]?.model ?? "unknown"}, ${process.platform} ${process.arch}`,
    "",
  ].join("\n");
}

function explain(ceilings: number[]): string {
  const [short, long] = ceilings.map((ceiling) => ceiling.toFixed(3));
  return [
    "Permit utilisation is the upstream's own mean number of calls in flight ÷ its limit. As many clients as",
    `there are permits, calling it directly, reach ${short} (${SHORT_MS} ms) and ${long} (${LONG_MS} ms) on this machine.`,
    "Memory is that of one process: for Sluice, workerd with the Worker, its Durable Objects and a simulated R2;",
    "for FastAPI, uvicorn.",
  ].join("\n");
}
