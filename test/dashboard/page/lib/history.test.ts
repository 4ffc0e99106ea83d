import { expect, test } from "vitest";
import {
  byAttempt,
  countEvents,
  describeEvent,
  describeNext,
  eventsIn,
  phaseOf,
  stretchesOf,
  type TaskEvent,
} from "../../../../src/dashboard/page/lib/history.ts";

let number = 0;
const at = (seconds: number) => new Date(seconds * 1_000).toISOString();
const event = (seconds: number, data: TaskEvent["data"], name: TaskEvent["name"] = "status"): TaskEvent => ({
  id: String(++number),
  name,
  at: at(seconds),
  data,
});
const error = { name: "TypeError", message: "no" };

/** It is handed over, fails, is tried again, and succeeds. */
const HISTORY = [
  event(0, { status: "queued", attempt: 0 }),
  event(1, { status: "running", attempt: 1 }),
  event(2, { status: "running", attempt: 1, step: "one" }, "step"),
  event(3, { status: "queued", attempt: 1, reason: "handed-over" }),
  event(4, { status: "running", attempt: 1 }),
  event(6, { status: "scheduled", attempt: 1, error, runAt: at(9) }),
  event(9, { status: "running", attempt: 2 }),
  event(9.5, { status: "running", attempt: 2, ratio: 0.5, message: "half" }, "progress"),
  event(10, { status: "succeeded", attempt: 2 }),
];

test("waits are told apart from hand-overs, and the steps of Sluice itself from those of the code", () => {
  const waits = (waitingFor: string[]) =>
    event(1, { status: "scheduled", attempt: 1, reason: "handed-over", runAt: at(9), waitingFor });
  const step = (name: string) => event(1, { status: "running", attempt: 1, step: name }, "step");
  expect([waits(["approval", "payment"]), waits(["tasks"])].map(describeEvent)).toEqual([
    "waits for “approval”, “payment”",
    "waits for its children",
  ]);
  expect(
    [waits(["approval"]), waits(["tasks"]), event(1, { status: "queued", attempt: 0 })].map(describeNext),
  ).toEqual(["for at most", undefined, "goes on in"]);
  expect(countEvents([waits(["approval"]), waits(["tasks"]), step("start 1")])).toBe("2 waits, 1 step");
  expect(["start 1", " start 1", " sleep 1.1 500", " sleep: cool down"].map(step).map(describeEvent)).toEqual(
    ["step “start 1” recorded", "children started", "sleep begun", "sleep “cool down” begun"],
  );
});

test("the events are read from the text of a stream, whatever else is in it", () => {
  const text = [
    "retry: 1000",
    'id: 7\nevent: status\ndata: {"at":"2026-01-01T00:00:00.000Z","status":"queued","attempt":0}',
    ": still here",
    'id: 8\nevent: later\ndata: {"at":"2026-01-01T00:00:00.000Z"}',
    'id: 9\nevent: step\ndata: {"at":"2026-01-01T00:00:01.000Z","status":"running","attempt":1,"step":"a: \\n\\n b"}',
    "",
  ].join("\n\n");
  expect(eventsIn(text)).toEqual([
    { id: "7", name: "status", at: "2026-01-01T00:00:00.000Z", data: { status: "queued", attempt: 0 } },
    {
      id: "9",
      name: "step",
      at: "2026-01-01T00:00:01.000Z",
      data: { status: "running", attempt: 1, step: "a: \n\n b" },
    },
  ]);
  expect(eventsIn("")).toEqual([]);
});

test("the events are told in words", () => {
  expect(HISTORY.map(describeEvent)).toEqual([
    "queued",
    "running",
    "step “one” recorded",
    "handed over to another run",
    "running",
    "attempt failed: TypeError: no",
    "running",
    "50 %, half",
    "succeeded",
  ]);
  expect(countEvents(HISTORY)).toBe("3 runs, 1 hand-over, 1 step");
});

test("an attempt that failed is told apart from a task that failed", () => {
  const retrying = event(0, { status: "scheduled", attempt: 1, error });
  const failed = event(0, { status: "failed", attempt: 1, error });
  expect([phaseOf(retrying), describeEvent(retrying)]).toEqual(["retrying", "attempt failed: TypeError: no"]);
  expect([phaseOf(failed), describeEvent(failed)]).toEqual(["failed", "failed for good: TypeError: no"]);
  expect(phaseOf(event(0, { status: "scheduled", attempt: 0, runAt: at(5) }))).toBe("waiting");
});

test("the events are grouped by attempt, those of another life apart", () => {
  const groups = (events: TaskEvent[]) =>
    byAttempt(events).map((group) => [group.attempt, group.events.length]);
  expect(groups(HISTORY)).toEqual([
    [0, 1],
    [1, 5],
    [2, 3],
  ]);
  const again = [event(20, { status: "queued", attempt: 0 }), event(21, { status: "running", attempt: 1 })];
  expect(groups([...HISTORY, ...again]).slice(-2)).toEqual([
    [0, 1],
    [1, 1],
  ]);
});

test("the stretches follow each other without a gap, and the last goes on until now", () => {
  const phases = (events: TaskEvent[], nowMs: number) =>
    stretchesOf(events, nowMs).map(({ phase, fromMs, toMs }) => [phase, fromMs / 1_000, toMs / 1_000]);
  expect(phases(HISTORY, 60_000)).toEqual([
    ["waiting", 0, 1],
    ["running", 1, 3],
    ["waiting", 3, 4],
    ["running", 4, 6],
    ["retrying", 6, 9],
    ["running", 9, 10],
  ]);
  expect(phases(HISTORY.slice(0, 2), 60_000).at(-1)).toEqual(["running", 1, 60]);
});
