/** Schedules that are declared in code: an invalid one is rejected at once, by name. */
import { afterEach, describe, expect, expectTypeOf, test, vi } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../src/tasks/index.ts";
import {
  declaredSchedules,
  defineSchedule,
  registerSchedules,
} from "../../../src/tasks/schedules/registry.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";

const report = defineTask({
  name: "registry_report",
  input: z.object({ pages: z.int(), title: z.string().default("Report") }),
  run: async () => null,
});
registerTaskTypes([report]);

type Declaration = Parameters<typeof defineSchedule<typeof report.input>>[0];
const DECLARATION: Declaration = { id: "nightly", cron: "30 2 * * *", type: report, input: { pages: 3 } };
const define = (more: Partial<Declaration> = {}) => defineSchedule({ ...DECLARATION, ...more });

afterEach(() => registerSchedules([]));

describe("a declaration", () => {
  test("by default is UTC, skips overlaps and runs the last missed tick; its input is kept unchanged", () => {
    expect(define()).toEqual({
      id: "nightly",
      cron: "30 2 * * *",
      timeZone: "UTC",
      type: "registry_report",
      input: '{"pages":3}',
      overlap: "skip",
      missed: "run_once",
    });
    const values = { timeZone: "Europe/Berlin", overlap: "queue", missed: "skip" } as const;
    expect(define(values)).toMatchObject(values);
  });

  test("can be defined while the Worker starts, when its clock stands at 1970", () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 0 });
    expect(define({ cron: "0 0 29 2 *" }).cron).toBe("0 0 29 2 *");
    expect(() => define({ cron: "0 0 30 2 *" })).toThrow("it would never run");
    vi.useRealTimers();
  });

  test("is typed by its task's input", () => {
    expectTypeOf<Declaration["input"]>().toEqualTypeOf<{ pages: number; title?: string | undefined }>();
  });

  test.each([["a"], ["nightly.report-2_x"], ["x".repeat(64)]])("may have the id %j", (id) => {
    expect(define({ id }).id).toBe(id);
  });

  test.each([[""], ["a b"], ["a/b"], [".."], ["-a"], ["ä"], ["x".repeat(65)]])(
    "may not have the id %j",
    (id) => {
      expect(() => define({ id })).toThrow(`"${id}" cannot be the id of a schedule.`);
    },
  );

  test.each([
    [{ cron: "* * *" }, "this has 3"],
    [{ cron: "0 0 30 2 *" }, "it would never run"],
    [{ timeZone: "Mars/Olympus" }, '"Mars/Olympus" is not a time zone'],
    [{ input: { pages: 1.5 } }, 'its input does not fit "registry_report"'],
    [{ input: { pages: 1, title: "x".repeat(8192) } }, "at most 8192 bytes"],
  ])("that is invalid is rejected by name: %j", (more, why) => {
    expect(() => define(more)).toThrow('The schedule "nightly" is not valid: ');
    expect(() => define(more)).toThrow(why);
  });
});

describe("the list", () => {
  test("is the one that was registered last", () => {
    registerSchedules([define({ id: "a" }), define({ id: "b" })]);
    registerSchedules([define({ id: "c" })]);
    expect(declaredSchedules().map(({ id }) => id)).toEqual(["c"]);
  });

  test("must not have an id twice, an unregistered type, or more than 1,000 schedules; it then stays as it was", () => {
    registerSchedules([define({ id: "a" })]);
    expect(() => registerSchedules([define(), define()])).toThrow('Two schedules have the id "nightly".');
    const stranger = { ...define(), type: "registry_stranger" };
    expect(() => registerSchedules([stranger])).toThrow(TypeError);
    expect(() => registerSchedules([stranger])).toThrow('The schedule "nightly" is not valid.');
    expect(() => registerSchedules([stranger])).toThrow(
      '"registry_stranger" is not registered: add it to the list TASK_TYPES in src/jobs/task-types.ts',
    );
    const many = Array.from({ length: 1001 }, (_, i) => ({ ...define(), id: `n${i}` }));
    expect(() => registerSchedules(many)).toThrow("There can be at most 1000 schedules.");
    expect(declaredSchedules().map(({ id }) => id)).toEqual(["a"]);
    registerSchedules(many.slice(1));
    expect(declaredSchedules()).toHaveLength(1000);
  });
});
