import { expect, test } from "vitest";
import { callerOf, groupWaiters } from "../../../../src/dashboard/page/lib/upstream.ts";

const waiter = (holder: string, priority: string, second: number) => ({
  id: `${holder}-${second}`,
  holder,
  priority,
  since: `2026-01-01T00:00:${second}.000Z`,
});

test("who waits is told by class and caller, since the first of them", () => {
  const waiters = [
    waiter("web 1", "interactive", 13),
    waiter("web 2", "interactive", 11),
    waiter("jobs 3", "interactive", 12),
    waiter("web 4", "background", 10),
  ];
  expect(
    groupWaiters(waiters).map(({ caller, priority, count, since }) => [caller, priority, count, since]),
  ).toEqual([
    ["web", "interactive", 2, "2026-01-01T00:00:11.000Z"],
    ["jobs", "interactive", 1, "2026-01-01T00:00:12.000Z"],
    ["web", "background", 1, "2026-01-01T00:00:10.000Z"],
  ]);
});

test.each([
  ["web 12-34", "web", "12-34"],
  ["my own name 12-34", "my own name", "12-34"],
  ["nameless", "nameless", "nameless"],
])("the holder %s is a caller and a request", (holder, caller, requestId) => {
  expect(callerOf(holder)).toEqual({ caller, requestId });
});
