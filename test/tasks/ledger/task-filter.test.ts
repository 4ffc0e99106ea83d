/** What a filter means. */
import { expect, test } from "vitest";
import { submit } from "../../../src/tasks/ledger/rules.ts";
import type { TaskRow } from "../../../src/tasks/ledger/schema.ts";
import {
  ANY_TIME,
  createdSpan,
  isIndexed,
  matches,
  type TaskFilter,
} from "../../../src/tasks/ledger/task-filter.ts";

const ALL: TaskFilter = { statuses: [], created: ANY_TIME };

const ROW: TaskRow = {
  ...submit(0, 0, null, 100).task,
  id: "s0-a",
  type: "resize",
  input: "",
  created_at_ms: 100,
  started_at_ms: 200,
  finished_at_ms: 300,
  status: "failed",
  error: '{"name":"TypeError","message":"No Picture"}',
  progress_ratio: 0.5,
  progress_message: "Half",
  callback_url: null,
  then_tasks: null,
  tags: '["a","b:1"]',
  schedule_id: "nightly",
  events: 1,
};

const from = (fromMs: number, untilMs = ANY_TIME.untilMs) => ({ fromMs, untilMs });

test.each<[string, Partial<TaskFilter>]>([
  ["nothing", {}],
  ["a status", { statuses: ["queued", "failed"] }],
  ["a type", { type: "resize" }],
  ["one tag", { tags: ["a"] }],
  ["all tags", { tags: ["b:1", "a"] }],
  ["an error", { error: "TypeError" }],
  ["a schedule", { scheduleId: "nightly" }],
  ["a text of the type", { text: "RESI" }],
  ["a text of the error", { text: "no pic" }],
  ["a text of the progress", { text: "half" }],
  ["a text of the id", { text: "S0-" }],
  ["a creation", { created: from(100, 101) }],
  ["a start", { started: from(200, 201) }],
  ["an end", { finished: from(300, 301) }],
])("the task matches: %s", (_, filter) => {
  expect(matches(ROW, { ...ALL, ...filter })).toBe(true);
});

test.each<[string, Partial<TaskFilter>]>([
  ["another status", { statuses: ["queued"] }],
  ["another type", { type: "size" }],
  ["part of a tag", { tags: ["b"] }],
  ["one tag more", { tags: ["a", "c"] }],
  ["part of an error's name", { error: "Type" }],
  ["another schedule", { scheduleId: "night" }],
  ["another text", { text: "nothing" }],
  ["a creation later", { created: from(101) }],
  ["a creation before", { created: from(0, 100) }],
  ["a start later", { started: from(201) }],
  ["an end before", { finished: from(0, 300) }],
])("the task does not match: %s", (_, filter) => {
  expect(matches(ROW, { ...ALL, ...filter })).toBe(false);
});

test("a task that has none of what is asked for does not match", () => {
  const bare = {
    ...ROW,
    tags: null,
    schedule_id: null,
    error: null,
    started_at_ms: null,
    finished_at_ms: null,
  };
  for (const filter of [
    { tags: ["a"] },
    { error: "TypeError" },
    { scheduleId: "nightly" },
    { started: ANY_TIME },
    { finished: ANY_TIME },
  ])
    expect(matches(bare, { ...ALL, ...filter })).toBe(false);
  // As a ledger of an earlier version sends it.
  const { tags: _t, schedule_id: _s, ...older } = ROW;
  expect(matches(older, { ...ALL, tags: ["a"] })).toBe(false);
});

test("an error that can no longer be read has no name", () => {
  expect(matches({ ...ROW, error: "{" }, { ...ALL, error: "TypeError" })).toBe(false);
});

test("a task starts and ends after its creation, which bounds where it is looked for", () => {
  const filter = { ...ALL, created: from(50, 900), started: from(400), finished: from(500, 600) };
  expect(createdSpan(filter)).toEqual({ fromMs: 50, untilMs: 600 });
  expect(createdSpan(filter, 60)).toEqual({ fromMs: 440, untilMs: 600 });
});

test("only status, type and creation are answered by an index alone", () => {
  expect(isIndexed({ statuses: ["failed"], type: "t", tags: [], created: from(3) })).toBe(true);
  for (const more of [{ tags: ["a"] }, { error: "E" }, { text: "x" }, { started: ANY_TIME }])
    expect(isIndexed({ ...ALL, ...more })).toBe(false);
});
