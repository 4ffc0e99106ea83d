/**
 * A schedule that comes with Sluice and is off until a variable turns it on, so that a deploy begins nothing by itself:
 *
 *     CLEAN_UP = { cron = "0 3 * * *", time_zone = "Europe/Berlin", input = { … } }
 */
import { z } from "zod";
import { describeError } from "../../kernel/log.ts";
import { ConfigurationError, readVariable } from "../../kernel/variables.ts";
import { defineSchedule, type ScheduleSpec, type TaskType } from "../../tasks/index.ts";

const variableSchema = z
  .strictObject({
    cron: z.string().default(""),
    time_zone: z.string().default("UTC"),
    input: z.unknown().default({}),
  })
  .default({ cron: "", time_zone: "UTC", input: {} });

/**
 * The schedule of a type, under the type's name; none while `cron` is empty. Throws a `ConfigurationError` that names the
 * variable if the schedule is not valid.
 */
export function optionalSchedule(env: Env, variable: string, type: TaskType): ScheduleSpec[] {
  const { cron, time_zone: timeZone, input } = readVariable(env, variable, variableSchema);
  if (cron.trim() === "") return [];
  try {
    return [defineSchedule({ id: type.name, cron, timeZone, type, input })];
  } catch (error) {
    throw new ConfigurationError(`The variable ${variable} is wrong: ${describeError(error).message}`);
  }
}
