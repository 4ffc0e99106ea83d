/** What happens to tasks when the time of their request is up, and when every process is killed: on the real runtime. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LEASE_MS } from "../../src/tasks/ledger/rules.ts";
import { type DevServer, startDev, temporaryFolder } from "../support/dev-server.ts";

/** `waitUntil` is cut after 3 s, so the fast lane hands over after 2.5 s. */
const ARGS = ["test/support/tasks-worker.ts", "--var", "WAIT_UNTIL_CUT_SECONDS:3"];
const CUT_MS = 3_000;

type Body = Record<string, unknown>;

const storage = temporaryFolder();
let server: DevServer = { url: "", output: () => "", kill: async () => {} };

beforeAll(async () => {
  server = await startDev(storage.path, ARGS);
});
afterAll(async () => {
  await server.kill();
  storage.remove();
});

const getJson = async <T = Body>(path: string): Promise<T> =>
  (await fetch(`${server.url}${path}`)).json() as Promise<T>;

async function submit(type: string): Promise<string> {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ type });
  const response = await fetch(`${server.url}/tasks`, { method: "POST", headers, body });
  const { id } = (await response.json()) as Body;
  expect([response.status, id]).toEqual([202, expect.any(String)]);
  return String(id);
}

async function runTasks(): Promise<string[]> {
  const { tasks } = await getJson<{ tasks: { id: string }[] }>("/run-tasks");
  return tasks.map(({ id }) => id);
}

/** The task, once it has succeeded. */
async function success(id: string): Promise<Body> {
  for (const untilMs = Date.now() + 30_000; ; await sleep(100)) {
    const task = await getJson(`/tasks/${id}`);
    if (task.status === "succeeded") return task;
    if (Date.now() > untilMs) throw new Error(`${id} is still ${JSON.stringify(task)}`);
  }
}

/** The lines that a task has logged with a message, once there are `count` of them. */
async function logged(id: string, message: string, count: number): Promise<Body[]> {
  for (const untilMs = Date.now() + 5_000; linesOf(id, message).length < count; await sleep(50))
    if (Date.now() > untilMs) break;
  return linesOf(id, message);
}

function linesOf(id: string, message: string): Body[] {
  return server
    .output()
    .split("\n")
    .filter((line) => line.includes(id) && line.includes(`"message":"${message}"`))
    .map((line) => JSON.parse(line.slice(line.indexOf("{"), line.lastIndexOf("}") + 1)) as Body);
}

describe("a task that takes longer than its request may take", () => {
  test.concurrent("continues after its recorded steps, and repeats none of them", async () => {
    const submittedAtMs = Date.now();
    const id = await submit("e2e-steps");
    expect(await success(id)).toMatchObject({ attempt: 1, crashes: 0, result: "first, last" });
    expect(Date.now() - submittedAtMs).toBeLessThan(CUT_MS + 4_000);
    expect(await logged(id, "last step done", 1)).toHaveLength(1);
    expect(await logged(id, "first step done", 1)).toHaveLength(1);
    expect(await logged(id, "task handed over", 1)).toMatchObject([{ taskId: id, attempt: 1 }]);
  });

  test.concurrent("is cut if it ignores its signal, and only then run again", async () => {
    const submittedAtMs = Date.now();
    const id = await submit("e2e-deaf");
    const { result, attempt, crashes } = await success(id);
    const ticks = await logged(id, "tick", 36);
    const first = ticks.filter(({ run }) => run !== result);
    const second = ticks.filter(({ run }) => run === result);
    expect(second).toHaveLength(25);
    const times = (lines: Body[]) => lines.map(({ atMs }) => Number(atMs));
    expect([attempt, crashes, new Set(first.map(({ run }) => run)).size]).toEqual([1, 0, 1]);
    expect(first.length).toBeGreaterThan(10);
    expect(Math.max(...times(first)) - submittedAtMs).toBeLessThan(CUT_MS + 500);
    expect(Math.min(...times(second))).toBeGreaterThan(Math.max(...times(first)));
  });

  test.concurrent("succeeds, for those of /run-tasks too", async () => {
    const ids = await runTasks();
    const ended = await Promise.all(ids.map(success));
    expect(ended).toMatchObject([
      { type: "task_a", result: "Task A completed.", attempt: 1, crashes: 0 },
      { type: "task_b", result: "Task B completed.", attempt: 1, crashes: 0 },
    ]);
    const handedOver = await Promise.all(ids.map((id, i) => logged(id, "task handed over", i)));
    expect(handedOver.map((lines) => lines.length)).toEqual([0, 1]);
  });
});

interface ReadEvent {
  id: number;
  event: string;
  data: Body;
}

/** Reads the events of a task into `read`, after those it has, until the stream ends or is cut off. */
async function follow(id: string, read: ReadEvent[]): Promise<void> {
  const lastId = read.at(-1)?.id;
  const headers = lastId === undefined ? {} : { "Last-Event-ID": String(lastId) };
  const { body } = await fetch(`${server.url}/tasks/${id}/events`, { headers });
  let text = "";
  for await (const chunk of body ?? []) {
    text += Buffer.from(chunk).toString();
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const [, number, event = "", data = ""] = /^id: (\d+)\nevent: (.*)\ndata: (.*)$/.exec(block) ?? [];
      if (number !== undefined) read.push({ id: Number(number), event, data: JSON.parse(data) as Body });
    }
  }
}

test("after a kill -9, tasks are run again, and a reader of events misses none", async () => {
  const read: ReadEvent[] = [];
  const id = await submit("e2e-halfway");
  const ids = await runTasks();
  const reading = follow(id, read).catch(() => "cut off");
  await expect.poll(() => read.at(-1)?.event, { timeout: 5_000, interval: 10 }).toBe("progress");
  const killedAtMs = Date.now();
  await server.kill();
  expect(await reading).toBe("cut off");
  const seenBefore = read.length;

  server = await startDev(storage.path, ARGS);
  const upAtMs = Date.now();
  expect(await getJson(`/tasks/${id}`)).toMatchObject({ finishedAt: null, result: null, crashes: 0 });
  await follow(id, read);
  const { finishedAt, ...task } = await getJson(`/tasks/${id}`);
  expect(task).toMatchObject({ status: "succeeded", attempt: 1, crashes: 1, result: "whole" });
  // Its own two seconds are over by then.
  expect(Date.parse(String(finishedAt))).toBeLessThan(Math.max(killedAtMs + LEASE_MS, upAtMs) + 5_000);

  expect(read.map((event) => event.id)).toEqual(read.map((_event, i) => i + 1));
  expect(read.length).toBeGreaterThan(seenBefore);
  const dataOf = (name: string) => read.filter(({ event }) => event === name).map(({ data }) => data);
  expect(dataOf("status").map(({ status }) => status)).toEqual(["running", "queued", "running", "succeeded"]);
  expect(dataOf("status")[1]).toMatchObject({ reason: "crashed" });
  expect(dataOf("step").map(({ step }) => step)).toEqual(["first", " sleep 1.1 2000", "second"]);
  expect(dataOf("progress").map(({ ratio }) => ratio)).toEqual([0.5, 0.5]);
  expect(linesOf(id, "first half done")).toEqual([]);
  const again = await fetch(`${server.url}/tasks/${id}/events`, {
    headers: { "Last-Event-ID": String(read.length) },
  });
  expect(again.status).toBe(204);

  expect(await Promise.all(ids.map(success))).toMatchObject([
    { type: "task_a", attempt: 1, crashes: 1 },
    { type: "task_b", attempt: 1, crashes: 1 },
  ]);
});
