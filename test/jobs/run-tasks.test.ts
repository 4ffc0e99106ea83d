import { expect, test } from "vitest";
import { callForJson, callWorker, captureLogs } from "../support/call.ts";

interface Scheduled {
  message: string;
  tasks: { id: string; url: string }[];
}

test.each(["GET", "POST"])(
  "%s /run-tasks responds at once, and both tasks are done after 3 s, not 5",
  async (method) => {
    const startedAtMs = Date.now();
    const { value, lines } = await captureLogs(async () => {
      const { response, settled } = await callWorker("/run-tasks", { method });
      const scheduled = await response.json<Scheduled>();
      const respondedAfterMs = Date.now() - startedAtMs;
      const paths = scheduled.tasks.map(({ url }) => new URL(url).pathname);
      const whileRunning = await Promise.all(paths.map((path) => callForJson(path)));
      await settled();
      const afterwards = await Promise.all(paths.map((path) => callForJson(path)));
      return { scheduled, respondedAfterMs, whileRunning, afterwards };
    });
    const { scheduled, respondedAfterMs, whileRunning, afterwards } = value;

    expect(scheduled.message).toBe("Tasks scheduled");
    expect(respondedAfterMs).toBeLessThan(1000);
    expect(whileRunning.map(({ body }) => [body.type, body.status])).toEqual([
      ["task_a", "running"],
      ["task_b", "running"],
    ]);
    expect(afterwards.map(({ body }) => [body.type, body.status, body.result])).toEqual([
      ["task_a", "succeeded", "Task A completed."],
      ["task_b", "succeeded", "Task B completed."],
    ]);
    const tookMs = afterwards.map(({ body }) => Date.parse(String(body.finishedAt)) - startedAtMs);
    expect(tookMs[0]).toBeGreaterThanOrEqual(1950);
    expect(tookMs[1]).toBeGreaterThanOrEqual(2950);
    expect(tookMs[1]).toBeLessThan(4500);
    expect(lines.map((line) => [line.message, line.taskId])).toEqual([
      ["Task A completed.", scheduled.tasks[0]?.id],
      ["Task B completed.", scheduled.tasks[1]?.id],
    ]);
  },
);

test("HEAD /run-tasks starts nothing", async () => {
  const { value, lines } = await captureLogs(async () => {
    const { response, settled } = await callWorker("/run-tasks", { method: "HEAD" });
    await settled();
    return response;
  });
  expect([value.status, value.headers.get("Content-Type"), lines]).toEqual([200, "application/json", []]);
});
