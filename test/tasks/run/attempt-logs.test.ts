/** The log lines about the end of an attempt. */
import { reset } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { callForJson, captureLogs } from "../../support/call.ts";
import { begin, submitted, taskWhen } from "../../support/submissions.ts";

let begun = 0;
let failures = 0;
const input = z.unknown();

registerTaskTypes([
  defineTask({
    name: "logs_fails_once",
    input,
    retry: { minDelayMs: 0, maxDelayMs: 0 },
    async run() {
      if (failures++ === 0) throw new RangeError("too far");
      return "done";
    },
  }),
  defineTask({
    name: "logs_fails",
    input,
    run: async () => {
      throw new NonRetryableError("no");
    },
  }),
  defineTask({
    name: "logs_listens",
    input,
    lane: "long",
    run: async ({ signal }) =>
      new Promise((_, reject) => {
        begun++;
        signal.addEventListener("abort", () => reject(new Error("thrown after the cancellation")));
      }),
  }),
]);

beforeEach(async () => {
  [begun, failures] = [0, 0];
  await reset();
});

/** The log lines about a task, without the fields that every line has. */
const about = (lines: Record<string, unknown>[], taskId: string) =>
  lines
    .filter((line) => line.taskId === taskId)
    .map(({ level, message, attempt }) => [level, message, attempt]);

test("a failed attempt is logged as an error, even if the next attempt succeeds", async () => {
  const { value: id, lines } = await captureLogs(async () => {
    const taskId = await submitted({ type: "logs_fails_once" });
    await taskWhen(taskId, "succeeded");
    return taskId;
  });
  expect(about(lines, id)).toEqual([["error", "attempt failed", 1]]);
  expect(lines.find(({ message }) => message === "attempt failed")).toMatchObject({
    type: "logs_fails_once",
    error: "RangeError: too far",
  });
});

test("the last failed attempt is logged as an error", async () => {
  const { value: id, lines } = await captureLogs(() => submitted({ type: "logs_fails" }));
  expect(about(lines, id)).toEqual([["error", "attempt failed", 1]]);
});

test("a cancelled task is not logged as an error, whatever its code throws then", async () => {
  const { value: id, lines } = await captureLogs(async () => {
    const taskId = await begin({ type: "logs_listens" });
    await expect.poll(() => begun, { interval: 10 }).toBe(1);
    await callForJson(`/tasks/${taskId}/cancel`, { method: "POST" });
    await taskWhen(taskId, "cancelled");
    return taskId;
  });
  expect(about(lines, id)).toEqual([["info", "task cancelled", 1]]);
  expect(lines.filter(({ level }) => level === "error")).toEqual([]);
});
