/**
 * `npm run bench`: measures everything; `npm run bench -- outbound` one part of it.
 *
 *     examples   the four examples, and beside them the FastAPI program that a user would write instead
 *     files      how fast files go in, each way, and how much memory grows with their size
 *     outbound   the semaphore: what it costs, how well permits are used, and the same job through Redis
 *     tasks      how soon they start and how many do, beside queues and workflows; what a full ledger costs
 *
 * Figures of one machine and one minute say little; the ratio of two things that were measured one after the
 * other, under the same load and against the same upstream, says more. All traffic stays on 127.0.0.1.
 */
import { availableParallelism, cpus } from "node:os";
import { CONCURRENCY } from "./contender.ts";
import { benchExamples } from "./examples.ts";
import { benchFiles } from "./files/run.ts";
import { CLIENTS } from "./load.ts";
import { benchOutbound } from "./outbound/run.ts";
import { WORKERD_VERSION } from "./support/workerd.ts";
import { benchTasks } from "./tasks/run.ts";

const PARTS = new Map([
  ["examples", benchExamples],
  ["outbound", benchOutbound],
  ["files", benchFiles],
  ["tasks", benchTasks],
]);

// Leaves by way of "exit", where everything that was started is ended.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

await main(process.argv.slice(2));

async function main(asked: string[]): Promise<void> {
  const unknown = asked.filter((name) => !PARTS.has(name));
  if (unknown.length > 0) {
    console.error(`There is no ${unknown.join(", ")} to measure; there are ${[...PARTS.keys()].join(", ")}.`);
    process.exitCode = 2;
    return;
  }
  console.log(describeRun());
  for (const [name, bench] of PARTS) {
    if (asked.length === 0 || asked.includes(name)) console.log(`\n${await bench()}`);
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
