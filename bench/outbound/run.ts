/**
 * The semaphore: what it costs, how well its permits are used, and how other tools do the same job.
 *
 * A target stands in brackets beside its figure. The upstream itself counts how many calls it sees at once, whatever
 * a caller believes it has sent.
 */
import { startUpstream } from "../support/upstream.ts";
import { renderTable } from "../table.ts";
import { measureDistance } from "./distance.ts";
import { findLibraries, fleetColumn, measureFleet } from "./fleet.ts";
import { measureObject } from "./object.ts";
import { measureRules } from "./rules.ts";
import { measureShards } from "./shards.ts";
import { measureJob, measureUtilisation } from "./utilisation.ts";

const JOB_MS = 20;
const JOB = `upstream ${JOB_MS} ms`;

const MEANING = [
  "Permit utilisation is the mean number of calls in flight that the upstream sees ÷ its limit. The target is 0.95",
  "with an upstream that takes 20 ms. In brackets above: the targets for the cost of the semaphore.",
].join("\n");

/** Measures everything about the semaphore. Resolves to the text to print. */
export async function benchOutbound(): Promise<string> {
  console.error("measuring what the semaphore costs …");
  const costs = renderTable([
    { name: "Semaphore", figures: [...(await measureObject()), ...measureRules()] },
  ]);
  console.error("measuring what shards add …");
  const shards = renderTable([{ name: "Sluice", figures: await measureShards() }]);
  console.error("measuring how well permits are used …");
  const uses = renderTable([{ name: "Sluice", figures: await measureUtilisation() }]);
  console.error("measuring how well permits are used from afar …");
  const afar = renderTable([{ name: "Sluice", figures: await measureDistance() }]);
  return [costs, "", shards, "", uses, "", MEANING, "", afar, "", await compare()].join("\n");
}

/** The same job through Sluice and through Redis, one after the other. */
async function compare(): Promise<string> {
  const { found, missing } = findLibraries();
  if (found.length === 0) return `No comparison: ${missing.join(", ")} not installed here.`;
  await using upstream = await startUpstream();
  const columns = [{ name: "Sluice", figures: await measureJob(JOB, upstream, JOB_MS) }];
  for (const library of found) {
    console.error(`measuring ${library} …`);
    columns.push(fleetColumn(library, await measureFleet(library, upstream, JOB_MS), JOB));
  }
  return [
    renderTable(columns),
    "",
    "Sluice serves every client over HTTP and keeps grants on disk. The others are libraries, in a fleet of Node",
    "processes that call the upstream themselves, with a Redis that keeps nothing on disk. redis-semaphore has no",
    "queue: whichever client polls at the right moment is next. Its low median comes at the cost of long waits.",
  ].join("\n");
}
