/** What each operation may use at most. A budget may only fall. */
import { NO_USAGE, type Usage } from "../../test/support/platform/usage.ts";

const BUDGETS: Readonly<Record<string, Partial<Usage>>> = {};

/** What an operation uses beyond its budget, a line for each. */
export function overBudget(name: string, usage: Usage): string[] {
  const budget = { ...NO_USAGE, ...BUDGETS[name] };
  return (Object.keys(usage) as (keyof Usage)[])
    .filter((what) => usage[what] > budget[what])
    .map((what) => `${name}: ${what} is ${usage[what]}, and may be ${budget[what]}`);
}
