import { expect, test } from "vitest";
import { createRunBudget } from "../../../src/jobs/support/run-budget.ts";
import { TestTask } from "../../support/task-context.ts";

test("a run that has done enough is handed over, and no other", async () => {
  const task = new TestTask();
  const spend = createRunBudget(task.context(), 10);
  await spend(4);
  await spend(5);
  await expect(spend(1)).rejects.toThrow("");
  await expect(task.finish(async (ctx) => createRunBudget(ctx, 10)(9))).resolves.toBeUndefined();
});
