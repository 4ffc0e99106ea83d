/** The schedules that are declared in code. What is wrong with one is found while the Worker starts. */
import type { z } from "zod";
import type { TaskType } from "../types/define.ts";
import { findTaskType } from "../types/registry.ts";
import { faultOf, type MissedPolicy, type Overlap, type Timing } from "./rules.ts";

/** What runs when, as it is kept. */
export interface ScheduleSpec extends Timing {
  id: string;
  /** The name of a task type. */
  type: string;
  /** JSON text that the type's schema takes. */
  input: string;
  overlap: Overlap;
  missed: MissedPolicy;
}

/** The longest input, in characters of JSON: all schedules together must fit into one answer. */
export const MAX_INPUT_LENGTH = 8 * 1024;
export const MAX_SCHEDULES = 1_000;

/** What is not said is UTC, `overlap: "skip"` and `missed: "run_once"`. */
interface Declaration<Input extends z.ZodType> {
  /** Letters, digits, `_`, `-` and `.`, at most 64, and none of the last two first. */
  id: string;
  /** Minute, hour, day of the month, month, day of the week. */
  cron: string;
  /** Of the IANA database. */
  timeZone?: string;
  type: TaskType<Input>;
  input: z.input<Input>;
  /** While the run before goes on, a tick is dropped, or waits. */
  overlap?: Overlap;
  /** Of the ticks that nobody was there for, the last runs late, or none does. */
  missed?: MissedPolicy;
}

/** Declares a schedule, typed from its task's input. Throws if it cannot be one; the message says why. */
export function defineSchedule<Input extends z.ZodType>(declaration: Declaration<Input>): ScheduleSpec {
  const { id, cron, timeZone = "UTC", type, overlap = "skip", missed = "run_once" } = declaration;
  if (!/^\w[\w.-]{0,63}$/.test(id)) throw new TypeError(`"${id}" cannot be the id of a schedule.`);
  const refuse = (why: string) => new TypeError(`The schedule "${id}" is wrong: ${why}`);
  // While a Worker starts, its clock stands at 1970: only a pattern that never runs at all is found so.
  const fault = faultOf({ cron, timeZone }, Date.now());
  if (fault) throw refuse(fault.detail);
  const parsed = type.input.safeParse(declaration.input);
  if (!parsed.success) throw refuse(`its input is not what "${type.name}" takes. ${parsed.error.message}`);
  const input: string | undefined = JSON.stringify(declaration.input);
  if (input === undefined || input.length > MAX_INPUT_LENGTH) {
    throw refuse(`its input must be JSON, of at most ${MAX_INPUT_LENGTH} characters.`);
  }
  return { id, cron, timeZone, type: type.name, input, overlap, missed };
}

let declared: readonly ScheduleSpec[] = [];

/** Says which schedules are declared, all at once, after the task types. Throws if two have one id. */
export function registerSchedules(list: readonly ScheduleSpec[]): void {
  if (list.length > MAX_SCHEDULES) throw new RangeError(`There can be ${MAX_SCHEDULES} schedules.`);
  const ids = new Set<string>();
  for (const { id, type } of list) {
    if (ids.has(id)) throw new TypeError(`Two schedules have the id "${id}".`);
    if (!findTaskType(type)) throw new TypeError(`The schedule "${id}" is of no registered type: "${type}".`);
    ids.add(id);
  }
  declared = [...list];
}

export const declaredSchedules = (): readonly ScheduleSpec[] => declared;
