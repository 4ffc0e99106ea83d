import { env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SCHEDULES } from "../../../src/jobs/schedules.ts";
import { optionalSchedule } from "../../../src/jobs/support/optional-schedule.ts";
import { cleanUp } from "../../../src/jobs/upkeep/clean-up.ts";
import { registerSchedules } from "../../../src/tasks/index.ts";
import { callForJson } from "../../support/call.ts";

const INPUT = { files: [{ prefix: "tmp-", older_than_days: 30 }] };

const read = (CLEAN_UP: unknown) => optionalSchedule({ ...env, CLEAN_UP } as Env, "CLEAN_UP", cleanUp);

beforeEach(async () => reset());
afterEach(() => registerSchedules([]));

test.each([undefined, {}, { cron: "" }, { cron: " " }, '{"cron": ""}', { cron: "", input: INPUT }])(
  "there is no schedule for %j",
  (variable) => expect(read(variable)).toEqual([]),
);

test("none that comes with Sluice is on by default", () => {
  expect(SCHEDULES.map(({ id }) => id)).not.toContain("clean_up");
});

test("a variable turns it on, and GET /schedules shows it", async () => {
  registerSchedules(read({ cron: "0 3 * * *", time_zone: "Europe/Berlin", input: INPUT }));
  const { body } = await callForJson("/schedules");
  expect(body.schedules).toMatchObject([
    {
      id: "clean_up",
      type: "clean_up",
      cron: "0 3 * * *",
      timeZone: "Europe/Berlin",
      input: INPUT,
      declared: true,
    },
  ]);
});

describe("a wrong variable stops the Worker, and is named", () => {
  test.each<[string, unknown, string]>([
    ["a cron that is none", { cron: "at three", input: INPUT }, "CLEAN_UP is wrong"],
    ["a time zone that is none", { cron: "0 3 * * *", time_zone: "Mars", input: INPUT }, "CLEAN_UP is wrong"],
    ["an input that the type does not take", { cron: "0 3 * * *", input: {} }, "name what to remove"],
    ["a member that there is not", { cron: "", every: "day" }, "CLEAN_UP"],
    ["text", "0 3 * * *", "CLEAN_UP"],
  ])("%s", (_name, variable, message) => {
    expect(() => read(variable)).toThrow(message);
  });
});
