/** Preconditions of a change: which hold, and what an entity tag names. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { etagOf, refusalOf, specOf } from "../../../src/tasks/schedules/definition.ts";
import type { ScheduleSpec } from "../../../src/tasks/schedules/registry.ts";
import { NEVER_MS } from "../../../src/tasks/schedules/rules.ts";
import type { ScheduleRow } from "../../../src/tasks/schedules/schema.ts";

const SPEC: ScheduleSpec = {
  id: "a",
  cron: "@daily",
  timeZone: "UTC",
  type: "task_a",
  input: "{}",
  then: null,
  overlap: "skip",
  missed: "skip",
  paused: false,
};
const rowOf = (spec: ScheduleSpec, more: Partial<ScheduleRow> = {}): ScheduleRow => ({
  id: spec.id,
  cron: spec.cron,
  time_zone: spec.timeZone,
  type: spec.type,
  input: spec.input,
  then_tasks: spec.then ?? null,
  overlap: spec.overlap,
  missed: spec.missed,
  next_at_ms: spec.paused ? NEVER_MS : 5,
  look_at_ms: 5,
  is_declared: 0,
  created_at_ms: 1,
  last_tick_at_ms: null,
  last_task_id: null,
  skipped_count: 0,
  missed_count: 0,
  last_error: null,
  ...more,
});
const OTHERS: Partial<ScheduleSpec>[] = [
  { cron: "@weekly" },
  { timeZone: "Europe/Berlin" },
  { type: "task_b" },
  { input: "[]" },
  { then: "[{}]" },
  { overlap: "queue" },
  { missed: "run_once" },
  { paused: true },
];

test("a row and its definition tell the same", () => {
  for (const other of [{}, ...OTHERS])
    expect(specOf(rowOf({ ...SPEC, ...other }))).toEqual({ ...SPEC, ...other });
});

test("each member of the definition has its share in the entity tag, and what happens has none", () => {
  const tags = [{}, ...OTHERS].map((other) => etagOf({ ...SPEC, ...other }));
  expect(new Set(tags).size).toBe(1 + OTHERS.length);
  expect(tags.every((tag) => /^"[\w-]{22}"$/.test(tag))).toBe(true);
  const ran = rowOf(SPEC, { last_task_id: "s0-1", skipped_count: 3, next_at_ms: 9, last_runs: "[]" });
  expect(etagOf(specOf(ran))).toBe(tags[0]);
  const { then: _, paused: __, ...earlier } = SPEC;
  expect(etagOf(earlier)).toBe(tags[0]);
});

const tag = etagOf(SPEC);
const other = '"another"';
test.each([
  ["none, on what exists", true, {}, undefined],
  ["none, on what is new", false, {}, undefined],
  ["If-Match with its tag", true, { ifMatch: tag }, undefined],
  ["If-Match with a list that has its tag", true, { ifMatch: `${other}, ${tag}` }, undefined],
  ["If-Match: *, on what exists", true, { ifMatch: "*" }, undefined],
  ["If-Match: *, on what is new", false, { ifMatch: "*" }, "precondition-failed"],
  ["If-Match with another tag", true, { ifMatch: other }, "precondition-failed"],
  ["If-Match with a weak tag", true, { ifMatch: `W/${tag}` }, "precondition-failed"],
  ["If-Match with nothing", true, { ifMatch: "" }, "precondition-failed"],
  ["If-None-Match: *, on what is new", false, { ifNoneMatch: "*" }, undefined],
  ["If-None-Match: *, on what exists", true, { ifNoneMatch: "*" }, "precondition-failed"],
  ["If-None-Match with its tag", true, { ifNoneMatch: tag }, "precondition-failed"],
  ["If-None-Match with another tag", true, { ifNoneMatch: other }, undefined],
] as const)("%s", (_, exists, preconditions, expected) => {
  const change = { ...SPEC, cron: "@hourly" };
  expect(refusalOf(exists ? rowOf(SPEC) : undefined, change, preconditions)).toBe(expected);
});

test("a change that has been made already is made again, whatever If-Match names", () => {
  expect(refusalOf(rowOf(SPEC), SPEC, { ifMatch: other })).toBeUndefined();
});

test("what is declared in code is never changed, whatever is demanded", () => {
  const header = fc.option(fc.constantFrom("*", tag, other), { nil: undefined });
  fc.assert(
    fc.property(header, header, (ifMatch, ifNoneMatch) => {
      expect(refusalOf(rowOf(SPEC, { is_declared: 1 }), SPEC, { ifMatch, ifNoneMatch })).toBe("declared");
    }),
  );
});
