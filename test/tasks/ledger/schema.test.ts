import { expect, test } from "vitest";
import { TASK_STATUSES } from "../../../src/tasks/ledger/task-state.ts";
import { type TaskRow, taskLink, taskSchema, toTask } from "../../../src/tasks/ledger/schema.ts";

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
  is_resuming: 0,
  lane: "fast",
  due_at_ms: 9_000,
  run_at_ms: 500,
  created_at_ms: 0,
  started_at_ms: 1_000,
  attempt_started_at_ms: 2_000,
  spent_ms: 0,
  finished_at_ms: null,
  progress_ratio: 0.25,
  progress_message: null,
  callback_url: "https://app.example.com/",
  events: 7,
  result: null,
  error: '{"name":"Error","message":"why"}',
};

test("a row is told without what is the ledger's alone", () => {
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
  });
});

test("what is told is what the document says, in every status; and only what is scheduled has a time to come", () => {
  for (const status of TASK_STATUSES) {
    const task = toTask({ ...ROW, status });
    expect(taskSchema.strict().parse(task)).toEqual(task);
    expect([status, task.runAt]).toEqual([
      status,
      status === "scheduled" ? "1970-01-01T00:00:09.000Z" : null,
    ]);
  }
});

test("there is no progress until it is told of, and none at all is some", () => {
  expect(toTask({ ...ROW, progress_ratio: null }).progress).toBeNull();
  expect(toTask({ ...ROW, progress_ratio: 0, progress_message: "" }).progress).toEqual({
    ratio: 0,
    message: "",
  });
});

test.each(["", "{", "null", "[]", '{"name":1,"message":"m"}', '{"name":"n"}'])(
  "what is not readable hides nothing else: %j",
  (text) => {
    const task = toTask({ ...ROW, input: "{", result: "{", error: text });
    expect(task).toMatchObject({ id: "s0-a", input: null, result: null, attempt: 2 });
    expect(task.error).toEqual({ name: "Error", message: "The error is not readable any more." });
  },
);

test.each([8.64e15 + 1, -8.64e15 - 1, 9e15])("a time that is none (%d) hides nothing else", (ms) => {
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

test("the last time that there can be is told", () => {
  const times = { due_at_ms: 8.64e15, created_at_ms: 8.64e15 };
  expect(toTask({ ...ROW, ...times, status: "scheduled" })).toMatchObject({
    createdAt: "+275760-09-13T00:00:00.000Z",
    runAt: "+275760-09-13T00:00:00.000Z",
  });
});

test("any result is told as it was returned", () => {
  for (const result of [null, 0, "", false, [1], { a: null }])
    expect(toTask({ ...ROW, result: JSON.stringify(result) }).result).toEqual(result);
});

test("a link is on the host of the base, whatever its path", () => {
  expect(taskLink("s0-a", "https://a.example:8443/x/y?z=1#w")).toEqual({
    id: "s0-a",
    url: "https://a.example:8443/tasks/s0-a",
  });
});
