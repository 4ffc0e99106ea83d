/**
 * The semaphore: what it costs, how well the permits it gives are used, and what others make of the same job.
 *
 * What is meant to be reached stands beside a figure in brackets. The upstream counts for itself how many calls it
 * sees at once, whatever a caller believes to have sent.
 */
import { startUpstream } from "../support/upstream.ts";
import { renderTable } from "../table.ts";
import { findLibraries, measureFleet } from "./fleet.ts";
import { measureObject } from "./object.ts";
import { measureRules } from "./rules.ts";
import { measureJob, measureUtilisation } from "./utilisation.ts";

const JOB_MS = 20;
const JOB = `upstream ${JOB_MS} ms`;

const MEANING = [
  "Permit utilisation is the upstream's own mean number of calls in flight ÷ its limit; meant is 0.95 with an",
  "upstream that takes 20 ms. In brackets above: what is meant of the semaphore's cost.",
].join("\n");

/** Measures everything about the semaphore, and gives what is to be printed. */
export async function benchOutbound(): Promise<string> {
  console.error("measuring what the semaphore costs …");
  const costs = renderTable([
    { name: "Semaphore", figures: [...(await measureObject()), ...measureRules()] },
  ]);
  console.error("measuring how well permits are used …");
  const uses = renderTable([{ name: "Sluice", figures: await measureUtilisation() }]);
  return [costs, "", uses, "", MEANING, "", await compare()].join("\n");
}

/** The same job through Sluice and through Redis, one right after the other. */
async function compare(): Promise<string> {
  const { found, missing } = findLibraries();
  if (found.length === 0) return `Not measured beside it: ${missing.join(", ")} not installed here.`;
  await using upstream = await startUpstream();
  const columns = [{ name: "Sluice", figures: await measureJob(JOB, upstream, JOB_MS) }];
  for (const library of found) {
    console.error(`measuring ${library} …`);
    columns.push(await measureFleet(library, upstream, JOB_MS, JOB));
  }
  return [
    renderTable(columns),
    "",
    "Sluice serves every client over HTTP and keeps grants on disk. The others are libraries, in a fleet of Node",
    "processes that call the upstream themselves, with a Redis that keeps nothing on disk. redis-semaphore knows no",
    "order: whoever asks at the right moment is next, and a low median is paid for by those who wait longest.",
  ].join("\n");
}
