/** What happens to tasks when every process is killed, on the real runtime. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { HURRIED } from "../../support/node/hurried.ts";
import { type ReadEvent, TasksServer } from "../../support/node/tasks-server.ts";

const { LEASE_MS } = HURRIED["src/tasks/ledger/rules.ts"];
// Its invocations must be over when their leases expire, so that tasks need not wait for that.
const server = new TasksServer({ WAIT_UNTIL_CUT_SECONDS: 2.5 });

beforeAll(async () => server.start());
afterAll(async () => server[Symbol.asyncDispose]());

test("after a kill -9, tasks are run again, and a reader of events misses none", async () => {
  const read: ReadEvent[] = [];
  const id = await server.submit("e2e-halfway");
  const ids = await server.runTasks();
  const reading = server.follow(id, read).catch(() => "cut off");
  await expect.poll(() => read.at(-1)?.event, { timeout: 10_000, interval: 10 }).toBe("progress");
  const killedAtMs = Date.now();
  await server.kill();
  expect(await reading).toBe("cut off");
  const seenBefore = read.length;

  await server.start();
  const upAtMs = Date.now();
  expect(await server.getJson(`/tasks/${id}`)).toMatchObject({ finishedAt: null, result: null, crashes: 0 });
  await server.follow(id, read);
  const { finishedAt, ...task } = await server.getJson(`/tasks/${id}`);
  expect(task).toMatchObject({ status: "succeeded", attempt: 1, crashes: 1, result: "whole" });
  // When its lease has expired, and not when the watchdog comes, every minute. Its own two seconds are over by then.
  expect(Date.parse(String(finishedAt))).toBeLessThan(Math.max(killedAtMs + LEASE_MS, upAtMs) + 30_000);

  expect(read.map((event) => event.id)).toEqual(read.map((_event, i) => i + 1));
  expect(read.length).toBeGreaterThan(seenBefore);
  const dataOf = (name: string) => read.filter(({ event }) => event === name).map(({ data }) => data);
  expect(dataOf("status").map(({ status }) => status)).toEqual(["running", "queued", "running", "succeeded"]);
  expect(dataOf("status")[1]).toMatchObject({ reason: "crashed" });
  expect(dataOf("step").map(({ step }) => step)).toEqual(["first", " sleep 1.1 2000", "second"]);
  expect(dataOf("progress").map(({ ratio }) => ratio)).toEqual([0.5, 0.5]);
  expect(server.linesOf(id, "first half done")).toHaveLength(1);
  const again = await server.fetch(`/tasks/${id}/events`, {
    headers: { "Last-Event-ID": String(read.length) },
  });
  expect(again.status).toBe(204);

  expect(await Promise.all(ids.map(async (each) => server.success(each)))).toMatchObject([
    { type: "task_a", attempt: 1, crashes: 1 },
    { type: "task_b", attempt: 1, crashes: 1 },
  ]);
});
