/** What each operation may use at most. A budget may only fall. */
import { NO_USAGE, type Usage } from "../../test/support/platform/usage.ts";

const BUDGETS: Readonly<Record<string, Partial<Usage>>> = {
  hello: { requests: 1, logEvents: 1 },
  "run-tasks: two tasks": { requests: 1, objectRequests: 3, rowsWritten: 8, logEvents: 6, internal: 3 },
  "a task in the fast lane, from POST to its removal": {
    requests: 1,
    objectRequests: 3,
    rowsWritten: 6,
    logEvents: 4,
    internal: 2,
  },
  "a task in the long lane, 1 s": {
    requests: 1,
    objectRequests: 6,
    rowsWritten: 17,
    logEvents: 7,
    internal: 4,
  },
  "a task in the long lane, 60 s": {
    requests: 1,
    objectRequests: 9,
    rowsWritten: 22,
    logEvents: 10,
    internal: 5,
  },
  "a tick of a schedule, and its task": { objectRequests: 8, rowsWritten: 24, logEvents: 8, internal: 5 },
  "a form with 1 MB": {
    requests: 1,
    objectRequests: 2,
    rowsWritten: 5,
    classA: 1,
    logEvents: 3,
    internal: 3,
  },
  "a form with 100 MB": {
    requests: 1,
    objectRequests: 3,
    rowsWritten: 7,
    classA: 22,
    logEvents: 4,
    internal: 25,
  },
  "PUT of 1 MB": { requests: 1, objectRequests: 2, rowsWritten: 5, classA: 1, logEvents: 3, internal: 3 },
  "PUT of 100 MB": { requests: 1, objectRequests: 2, rowsWritten: 5, classA: 1, logEvents: 3, internal: 3 },
  "tus, 1 MB": { requests: 2, objectRequests: 4, rowsWritten: 16, classA: 1, logEvents: 6, internal: 5 },
  "tus, 100 MB in pieces of 50 MB": {
    requests: 3,
    objectRequests: 6,
    rowsWritten: 62,
    classA: 22,
    logEvents: 9,
    internal: 28,
  },
  "tus, 200 MB in pieces of 50 MB": {
    requests: 5,
    objectRequests: 8,
    rowsWritten: 108,
    classA: 41,
    logEvents: 13,
    internal: 49,
  },
  "GET of a file": { requests: 1, objectRequests: 1, classB: 1, logEvents: 2, internal: 2 },
  "/fetch": { requests: 1, objectRequests: 2, rowsWritten: 3, logEvents: 5, internal: 2 },
  "/fetch twice at once, one of them queued": {
    requests: 2,
    objectRequests: 5,
    rowsWritten: 6,
    logEvents: 11,
    internal: 5,
  },
  "/fetch that fills the cache": {
    requests: 1,
    objectRequests: 2,
    rowsWritten: 3,
    logEvents: 5,
    internal: 4,
  },
  "/fetch from the cache": { requests: 1, logEvents: 1, internal: 1 },
  "the watchdog, each minute": { requests: 1, objectRequests: 6, classB: 1, logEvents: 7, internal: 7 },
};

/** What an operation uses beyond its budget, a line for each. */
export function overBudget(name: string, usage: Usage): string[] {
  const budget = { ...NO_USAGE, ...BUDGETS[name] };
  return (Object.keys(usage) as (keyof Usage)[])
    .filter((what) => usage[what] > budget[what])
    .map((what) => `${name}: ${what} is ${usage[what]}, and may be ${budget[what]}`);
}
