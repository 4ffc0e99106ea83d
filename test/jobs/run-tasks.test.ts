import { beforeAll, describe, expect, test } from "vitest";
import { callForJson, callWorker, captureLogs } from "../support/call.ts";

interface Scheduled {
  message: string;
  tasks: { id: string; url: string }[];
}

async function runTasks(method: string) {
  const startedAtMs = Date.now();
  const { response, settled } = await callWorker("/run-tasks", { method });
  const scheduled = await response.json<Scheduled>();
  const respondedAfterMs = Date.now() - startedAtMs;
  const paths = scheduled.tasks.map(({ url }) => new URL(url).pathname);
  const whileRunning = await Promise.all(paths.map((path) => callForJson(path)));
  await settled();
  const afterwards = await Promise.all(paths.map((path) => callForJson(path)));
  return { startedAtMs, scheduled, respondedAfterMs, whileRunning, afterwards };
}

describe("responds at once, and both tasks are done after 3 s, not 5:", () => {
  const METHODS = ["GET", "POST"];
  let runs: Map<string, Awaited<ReturnType<typeof runTasks>>>;
  let lines: Record<string, unknown>[];

  beforeAll(async () => {
    const captured = await captureLogs(async () => Promise.all(METHODS.map(runTasks)));
    runs = new Map(captured.value.map((run, i) => [String(METHODS[i]), run]));
    lines = captured.lines;
  });

  test.each(METHODS)("%s /run-tasks", (method) => {
    const run = runs.get(method);
    if (!run) throw new Error("It did not run.");
    const { startedAtMs, scheduled, respondedAfterMs, whileRunning, afterwards } = run;
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
    const ids = scheduled.tasks.map(({ id }) => id);
    const own = lines.filter((line) => ids.includes(String(line.taskId)));
    expect(own.map((line) => [line.message, line.taskId])).toEqual([
      ["Task A completed.", ids[0]],
      ["Task B completed.", ids[1]],
    ]);
  });

  test("they log nothing else", () => {
    expect(lines).toHaveLength(2 * METHODS.length);
  });
});

test("HEAD /run-tasks starts nothing", async () => {
  const { value, lines } = await captureLogs(async () => {
    const { response, settled } = await callWorker("/run-tasks", { method: "HEAD" });
    await settled();
    return response;
  });
  expect([value.status, value.headers.get("Content-Type"), lines]).toEqual([200, "application/json", []]);
});
