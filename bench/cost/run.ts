/**
 * Cost: what each operation uses on Cloudflare, counted on the simulated platform, with its price.
 *
 * The counts are exact and do not depend on the machine. Not counted are CPU time and the time that objects are in memory.
 */
import { addUsage, type Usage } from "../../test/support/platform/usage.ts";
import { overBudget } from "./budgets.ts";
import { measureOperation, OPERATIONS } from "./operations.ts";
import { startSite } from "./site.ts";
import { extrapolate, renderCosts, times } from "./table.ts";

const MINUTES_PER_MONTH = 43_200;
/** 10 GB, in pieces of 50 MB, beyond the two of the upload of 100 MB; the other upload has two more than that. */
const STEPS_TO_10_GB = (200 - 2) / 2;

/** Runs the measurements; returns the text to print. Throws if an operation uses more than its budget. */
export async function benchCost(): Promise<string> {
  await using counted = await startSite();
  const { site } = counted;
  const measure = async (action: () => Promise<unknown>) => {
    const before = await counted.used();
    await action();
    return addUsage({ ...(await counted.used()) }, before, -1);
  };
  const costs = new Map<string, Usage>();
  for (const operation of OPERATIONS)
    costs.set(operation.name, await measureOperation(operation, site, measure));
  const excess = [...costs].flatMap(([name, usage]) => overBudget(name, usage));
  if (excess.length > 0) throw new Error(`Over budget:\n${excess.join("\n")}`);
  return renderCosts(new Map([...costs, ...derived(costs)]));
}

function derived(costs: ReadonlyMap<string, Usage>): [string, Usage][] {
  const of = (name: string): Usage => {
    const usage = costs.get(name);
    if (!usage) throw new Error(`There is no operation "${name}".`);
    return usage;
  };
  const large = extrapolate(
    of("tus, 100 MB in pieces of 50 MB"),
    of("tus, 200 MB in pieces of 50 MB"),
    STEPS_TO_10_GB,
  );
  return [
    ["tus, 10 GB in pieces of 50 MB (extrapolated)", large],
    ["an idle month (43,200 times the watchdog)", times(of("the watchdog, each minute"), MINUTES_PER_MONTH)],
  ];
}
