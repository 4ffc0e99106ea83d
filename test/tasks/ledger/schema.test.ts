import { expect, test } from "vitest";
import { type TaskRow, taskLink, taskSchema, toTask } from "../../../src/tasks/ledger/schema.ts";
import { TASK_STATUSES } from "../../../src/tasks/ledger/task-state.ts";

const ROW: TaskRow = {
  id: "s0-a",
  type: "t",
  input: '{"n":1}',
  status: "running",
  priority: 3,
  rank_ms: null,
  token: 4,
  attempt: 2,
  crashes: 1,
  has_new_step: 0,
  is_resuming: 0,
  lane: "fast",
  pool: "new",
  busy_until_ms: 0,
  due_at_ms: 9_000,
  passes_pause: 0,
  run_at_ms: 500,
  created_at_ms: 0,
  started_at_ms: 1_000,
  attempt_started_at_ms: 2_000,
  spent_ms: 0,
  finished_at_ms: null,
  progress_ratio: 0.25,
  progress_message: null,
  callback_url: "https://app.example.com/",
  then_tasks: null,
  follow_ups: '["s1-b"]',
  events: 7,
  result: null,
  error: '{"name":"Error","message":"why"}',
};

test("a row is shown without the ledger's internal columns", () => {
  expect(toTask(ROW)).toEqual({
    id: "s0-a",
    type: "t",
    status: "running",
    priority: 3,
    attempt: 2,
    crashes: 1,
    input: { n: 1 },
    progress: { ratio: 0.25, message: null },
    createdAt: "1970-01-01T00:00:00.000Z",
    runAt: null,
    startedAt: "1970-01-01T00:00:01.000Z",
    finishedAt: null,
    result: null,
    error: { name: "Error", message: "why" },
    callbackUrl: "https://app.example.com/",
    followUps: ["s1-b"],
  });
});

test("the query and the password of a callback's URL are shown to nobody, also not in the task that sends it", () => {
  const callback_url = "https://me:secret@app.example.com:8443/hooks/a?key=secret#secret";
  expect(toTask({ ...ROW, callback_url }).callbackUrl).toBe("https://app.example.com:8443/hooks/a");
  const input = JSON.stringify({ taskId: "s0-a", finishedAt: "then", url: callback_url });
  expect(toTask({ ...ROW, type: "callback", input }).input).toEqual({
    taskId: "s0-a",
    finishedAt: "then",
    url: "https://app.example.com:8443/hooks/a",
  });
  // Whatever else has such an input keeps it: its caller may read it.
  expect(toTask({ ...ROW, input }).input).toEqual(JSON.parse(input));
  expect(toTask({ ...ROW, type: "callback", input: '{"url": 1}' }).input).toBeNull();
});

test("a task matches its schema in every status, and only a scheduled task has a time to run", () => {
  for (const status of TASK_STATUSES) {
    const task = toTask({ ...ROW, status });
    expect(taskSchema.strict().parse(task)).toEqual(task);
    expect([status, task.runAt]).toEqual([
      status,
      status === "scheduled" ? "1970-01-01T00:00:09.000Z" : null,
    ]);
  }
});

test("progress is null until it is reported, and 0 is progress", () => {
  expect(toTask({ ...ROW, progress_ratio: null }).progress).toBeNull();
  expect(toTask({ ...ROW, progress_ratio: 0, progress_message: "" }).progress).toEqual({
    ratio: 0,
    message: "",
  });
});

test.each(["", "{", "null", "[]", '{"name":1,"message":"m"}', '{"name":"n"}'])(
  "an unreadable value hides no other: %j",
  (text) => {
    const task = toTask({ ...ROW, input: "{", result: "{", error: text });
    expect(task).toMatchObject({ id: "s0-a", input: null, result: null, attempt: 2 });
    expect(task.error).toEqual({ name: "Error", message: "The recorded error can no longer be read." });
  },
);

test.each([8.64e15 + 1, -8.64e15 - 1, 9e15])("an impossible time (%d) hides no other value", (ms) => {
  const times = { due_at_ms: ms, run_at_ms: ms, created_at_ms: ms, started_at_ms: ms, finished_at_ms: ms };
  expect(toTask({ ...ROW, ...times, status: "scheduled" })).toMatchObject({
    id: "s0-a",
    createdAt: "1970-01-01T00:00:00.000Z",
    runAt: null,
    startedAt: null,
    finishedAt: null,
    input: { n: 1 },
  });
});

test("the last possible time is shown", () => {
  const times = { due_at_ms: 8.64e15, created_at_ms: 8.64e15 };
  expect(toTask({ ...ROW, ...times, status: "scheduled" })).toMatchObject({
    createdAt: "+275760-09-13T00:00:00.000Z",
    runAt: "+275760-09-13T00:00:00.000Z",
  });
});

test("any result is shown as it was returned", () => {
  for (const result of [null, 0, "", false, [1], { a: null }])
    expect(toTask({ ...ROW, result: JSON.stringify(result) }).result).toEqual(result);
});

test("a link is on the host of the base, whatever its path", () => {
  expect(taskLink("s0-a", "https://a.example:8443/x/y?z=1#w")).toEqual({
    id: "s0-a",
    url: "https://a.example:8443/tasks/s0-a",
  });
});
