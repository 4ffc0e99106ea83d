/** The schedules that are declared in code. An invalid one stops the Worker from starting. */
import type { z } from "zod";
import { describeError } from "../../kernel/log.ts";
import { checkTags, toWire } from "../run/new-task.ts";
import type { StartNext, TaskType } from "../types/define.ts";
import { followUpsSchema, knownIssues, readFollowUps } from "../types/follow-ups.ts";
import { checkGuard, type GuardMembers, keptGuard } from "../types/guards.ts";
import { parseInputNow } from "../types/input.ts";
import { toJson } from "../types/json.ts";
import { findTaskType, unregisteredTypeError } from "../types/registry.ts";
import { normalizePattern, type Timing, timingError } from "./pattern.ts";
import type { MissedPolicy, Overlap } from "./rules.ts";

/** What runs when, in the form in which it is stored. */
export interface ScheduleSpec extends Timing {
  id: string;
  /** The name of a task type. */
  type: string;
  /** JSON text that the type's schema accepts. */
  input: string;
  /** The follow-ups of each run, as JSON text. Missing in what an earlier version sends. */
  then?: string | null;
  /** The tags of each run, likewise. */
  tags?: string | null;
  /** Their guard: `GuardMembers` as JSON text, likewise. */
  guard?: string | null;
  overlap: Overlap;
  missed: MissedPolicy;
  /** No tick is taken. Missing in what is declared in code, or sent by an earlier version. */
  paused?: boolean;
}

/** 1 to 64 letters, digits, `_`, `-` and `.`, not starting with `-` or `.`. */
export const SCHEDULE_ID = /^\w[\w.-]{0,63}$/;

/** The limit for an input, as JSON text: all schedules together must fit into one response. */
export const MAX_INPUT_BYTES = 8 * 1024;
export const MAX_SCHEDULES = 1_000;

/** Defaults: UTC, `overlap: "skip"` and `missed: "run_once"`. */
interface Declaration<Input extends z.ZodType> extends GuardMembers {
  /** 1 to 64 letters, digits, `_`, `-` and `.`, not starting with `-` or `.`. */
  id: string;
  /** Minute, hour, day of the month, month, day of the week; or `@daily` and the like. */
  cron: string;
  /** A name from the IANA database. */
  timeZone?: string;
  type: TaskType<Input>;
  input: z.input<Input>;
  /** What follows each run that has succeeded. */
  then?: StartNext[];
  /** The tags of each run: see types/tags.ts. */
  tags?: string[];
  /** While the previous run has not ended, a tick is skipped or queued. */
  overlap?: Overlap;
  /** Of the ticks missed during a downtime, the last one runs late, or none runs. */
  missed?: MissedPolicy;
}

/** Declares a schedule; its input is typed by its task type. Throws if it is not valid; the message says why. */
export function defineSchedule<Input extends z.ZodType>(declaration: Declaration<Input>): ScheduleSpec {
  const { id, timeZone = "UTC", type, overlap = "skip", missed = "run_once" } = declaration;
  const cron = normalizePattern(declaration.cron);
  if (!SCHEDULE_ID.test(id)) throw new TypeError(`"${id}" cannot be the id of a schedule.`);
  const invalid = (why: string) => new TypeError(`The schedule "${id}" is not valid: ${why}`);
  // While a Worker starts, its clock stands at 1970. So this finds only patterns that never run at all.
  const error = timingError({ cron, timeZone }, Date.now());
  if (error) throw invalid(error.detail);
  const input = inputText(declaration.input, invalid);
  const parsed = parseInputNow(type, input);
  if (!parsed.success) throw invalid(`its input does not fit "${type.name}". ${parsed.error.message}`);
  const then = declaration.then && { then: nextText(declaration.then, invalid) };
  const tags = checkTags(declaration.tags, `The schedule "${id}": tags`);
  checkGuard(type.name, declaration, `The schedule "${id}"`);
  const guard = keptGuard(declaration);
  return { id, cron, timeZone, type: type.name, input, overlap, missed, ...then, ...tags, ...guard };
}

function inputText(input: unknown, invalid: (why: string) => TypeError): string {
  try {
    const text = toJson(input, "input");
    if (Buffer.byteLength(text) <= MAX_INPUT_BYTES) return text;
  } catch (error) {
    throw invalid(`its input must be JSON. ${describeError(error).message}`);
  }
  throw invalid(`its input may have at most ${MAX_INPUT_BYTES} bytes of JSON.`);
}

/** Whether the types exist is known when the schedules are registered. */
function nextText(next: StartNext[], invalid: (why: string) => TypeError): string {
  const { data, error } = followUpsSchema.safeParse(toWire(next));
  if (!data) throw invalid(`then: ${error.message}`);
  const text = JSON.stringify(data);
  if (Buffer.byteLength(text) > MAX_INPUT_BYTES)
    throw invalid(`its follow-ups may have at most ${MAX_INPUT_BYTES} bytes of JSON.`);
  return text;
}

/** What is wrong with the follow-ups of a schedule. Callback URLs are checked when they are used. */
function nextErrors({ input, then }: ScheduleSpec): string[] {
  const { data = [] } = followUpsSchema.safeParse(JSON.parse(then ?? "[]"));
  const { errors, inputs } = readFollowUps(data, "then", JSON.parse(input), () => undefined);
  const wrong = inputs.flatMap(({ type, text, at, unknown }) =>
    knownIssues(parseInputNow(type, text).error, `${at}/input`, unknown),
  );
  return [...errors, ...wrong].map(({ at, detail }) => `${at}: ${detail}`);
}

let declared: readonly ScheduleSpec[] = [];

/**
 * Sets the list of declared schedules; call it after the task types are registered. Throws if two schedules have the
 * same id, or if a type is not registered.
 */
export function registerSchedules(list: readonly ScheduleSpec[]): void {
  if (list.length > MAX_SCHEDULES) throw new RangeError(`There can be at most ${MAX_SCHEDULES} schedules.`);
  const ids = new Set<string>();
  for (const spec of list) {
    const { id, type } = spec;
    if (ids.has(id)) throw new TypeError(`Two schedules have the id "${id}".`);
    if (!findTaskType(type))
      throw new TypeError(`The schedule "${id}" is not valid. ${unregisteredTypeError(type).message}`);
    const [wrong] = nextErrors(spec);
    if (wrong !== undefined) throw new TypeError(`The schedule "${id}" is not valid. ${wrong}`);
    ids.add(id);
  }
  declared = [...list];
}

export const declaredSchedules = (): readonly ScheduleSpec[] => declared;
