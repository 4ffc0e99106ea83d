/**
 * `npm run bench`: measures everything; `npm run bench -- outbound` measures one part.
 *
 *     cost       what each operation uses on Cloudflare, and its price
 *     dashboard  how soon the page shows its first list, and a change, and how much travels
 *     examples   the four examples, beside the FastAPI program that a user would write instead
 *     files      the speed of each way in, and how much memory grows with the size of a file
 *     jobs       the built-in task types: analyze_file beside parsers alone, and its memory; scrape_pages beside its upstream's limit
 *     neighbour  how long the calls of a hundred limit keys wait beside one with ten thousand
 *     outbound   the semaphore: what it costs, how well its permits are used, and the same job through Redis
 *     tasks      how soon tasks start and how many end, beside Queues and Workflows; what a full ledger costs
 *
 * The figures of one machine and one minute say little. The ratio of two things that were measured one right after
 * the other, under the same load and against the same upstream, says more. All traffic stays on 127.0.0.1.
 */
import { availableParallelism, cpus } from "node:os";
import { CONCURRENCY } from "./contender.ts";
import { benchCost } from "./cost/run.ts";
import { benchDashboard } from "./dashboard.ts";
import { benchExamples } from "./examples.ts";
import { benchFiles } from "./files/run.ts";
import { benchJobs } from "./jobs/run.ts";
import { CLIENTS } from "./load.ts";
import { benchNeighbour } from "./outbound/neighbour.ts";
import { benchOutbound } from "./outbound/run.ts";
import { WORKERD_VERSION } from "./support/workerd.ts";
import { benchTasks } from "./tasks/run.ts";

const PARTS = new Map([
  ["cost", benchCost],
  ["dashboard", benchDashboard],
  ["examples", benchExamples],
  ["outbound", benchOutbound],
  ["neighbour", benchNeighbour],
  ["files", benchFiles],
  ["tasks", benchTasks],
  ["jobs", benchJobs],
]);

// Exits normally, so that the "exit" handlers end everything that was started.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

await main(process.argv.slice(2));

async function main(names: string[]): Promise<void> {
  const unknown = names.filter((name) => !PARTS.has(name));
  if (unknown.length > 0) {
    console.error(`Unknown: ${unknown.join(", ")}. The parts are ${[...PARTS.keys()].join(", ")}.`);
    process.exitCode = 2;
    return;
  }
  console.log(describeRun());
  for (const [name, bench] of PARTS) {
    if (names.length === 0 || names.includes(name)) console.log(`\n${await bench()}`);
  }
}

function describeRun(): string {
  return [
    `Sluice    workerd ${WORKERD_VERSION}, uploads on Miniflare`,
    `Load      autocannon on Node ${process.versions.node}, ${CLIENTS} clients kept busy`,
    `Upstream  at most ${CONCURRENCY} calls at once`,
    `Machine   ${availableParallelism()} × ${cpus()[0]?.model ?? "unknown"}, ${process.platform} ${process.arch}`,
  ].join("\n");
}
