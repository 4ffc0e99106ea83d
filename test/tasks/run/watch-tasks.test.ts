/** Which events whoever watches some tasks gets. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { keepTasks } from "../../../src/tasks/run/watch-tasks.ts";

const TAGS = ["a", "b", "c"];
const tasks = fc.array(
  fc.record({
    id: fc.uuid(),
    type: fc.constantFrom("x", "y"),
    tags: fc.option(fc.subarray(TAGS), { nil: undefined }),
    status: fc.constantFrom("queued", "succeeded"),
  }),
  { maxLength: 6 },
);
const filters = fc.record({
  type: fc.option(fc.constantFrom("x", "y", "z"), { nil: undefined }),
  tag: fc.option(fc.subarray(TAGS), { nil: undefined }),
});

test("exactly the tasks of the type that have all of the tags are kept, whole; and what was removed", () => {
  fc.assert(
    fc.property(tasks, fc.array(fc.uuid(), { maxLength: 2 }), filters, (all, removed, filter) => {
      const data = JSON.stringify({ tasks: all, removed });
      const kept = keepTasks(filter, "tasks", data);
      const { type, tag = [] } = filter;
      const wanted = all.filter(
        (task) => (type === undefined || task.type === type) && tag.every((one) => task.tags?.includes(one)),
      );
      const isEmpty = wanted.length === 0 && removed.length === 0;
      const isOfAll = type === undefined && tag.length === 0;
      if (isEmpty && !isOfAll) expect(kept).toBeUndefined();
      else expect(JSON.parse(kept ?? "")).toEqual(JSON.parse(JSON.stringify({ tasks: wanted, removed })));
    }),
    { numRuns: 500 },
  );
});

test("other events are kept as they are", () => {
  for (const event of ["reset", "ping"]) expect(keepTasks({ type: "x" }, event, "{}")).toBe("{}");
});
