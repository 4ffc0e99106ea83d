import { expect, test } from "vitest";
import { outputId } from "../../../src/jobs/support/outputs.ts";
import { fileId } from "../../../src/jobs/support/schemas.ts";
import { TestTask } from "../../support/task-context.ts";

test("the id of an output is the same in each run, and can be the id of a file", () => {
  const task = new TestTask("s2-01a2183a-61c5-7022-83c1-53503cca5ed5");
  const ids = [task.context(), task.context()].map((ctx) => outputId(ctx, "report.pdf"));
  expect(new Set(ids)).toEqual(new Set(["s2-01a2183a-61c5-7022-83c1-53503cca5ed5.report.pdf"]));
  expect(fileId.safeParse(ids[0]).success).toBe(true);
});
