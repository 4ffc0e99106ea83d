/** Which events whoever watches some tasks gets. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { keepTasks } from "../../../src/tasks/run/watch-tasks.ts";

const tasks = fc.array(
  fc.record({
    id: fc.uuid(),
    type: fc.constantFrom("x", "y"),
    status: fc.constantFrom("queued", "succeeded"),
  }),
  { maxLength: 6 },
);
const types = fc.option(fc.constantFrom("x", "y", "z"), { nil: undefined });

test("exactly the tasks of the type are kept, whole; and what was removed", () => {
  fc.assert(
    fc.property(tasks, fc.array(fc.uuid(), { maxLength: 2 }), types, (all, removed, type) => {
      const kept = keepTasks({ type }, "tasks", JSON.stringify({ tasks: all, removed }));
      const wanted = all.filter((task) => type === undefined || task.type === type);
      if (wanted.length === 0 && removed.length === 0 && type !== undefined) expect(kept).toBeUndefined();
      else expect(JSON.parse(kept ?? "")).toEqual({ tasks: wanted, removed });
    }),
    { numRuns: 500 },
  );
});

test("other events are kept as they are", () => {
  for (const event of ["reset", "ping"]) expect(keepTasks({ type: "x" }, event, "{}")).toBe("{}");
});
