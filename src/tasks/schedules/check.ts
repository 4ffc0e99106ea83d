/** The checks of a schedule that a schema cannot make. */
import type { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { inputErrors } from "../http/submission.ts";
import { checkAvailable } from "../types/availability.ts";
import { checkCallbackUrl } from "../types/callbacks.ts";
import {
  type FieldError,
  followUpErrors,
  followUpsSchema,
  readFollowUps,
  typesOf,
} from "../types/follow-ups.ts";
import { guardError, guardMembersIn, keptGuard } from "../types/guards.ts";
import { findOpenTaskType } from "../types/registry.ts";
import { keptTags } from "../types/tags.ts";
import { specOf } from "./definition.ts";
import { normalizePattern, type Timing, timingError } from "./pattern.ts";
import { MAX_INPUT_BYTES, type ScheduleSpec } from "./registry.ts";
import type { newScheduleSchema, ScheduleRow, scheduleChangeSchema } from "./schema.ts";

type NewSchedule = z.output<typeof newScheduleSchema>;
type ScheduleChange = z.output<typeof scheduleChangeSchema>;

/** Throws a `Problem` 422 that names everything that is wrong, or 503 if the type cannot run here. */
export async function checkSchedule(
  env: Env,
  id: string,
  body: NewSchedule,
  nowMs: number,
): Promise<ScheduleSpec> {
  const { time_zone: timeZone, type, then = [], overlap, missed, paused } = body;
  const cron = normalizePattern(body.cron);
  const input = JSON.stringify(body.input);
  const thenText = then.length === 0 ? null : JSON.stringify(then);
  const errors = [...timingErrors({ cron, timeZone }, nowMs), ...(await taskErrors(type, input))];
  const next = readFollowUps(then, "json/then", body.input, (url) => checkCallbackUrl(env, url));
  errors.push(...(await followUpErrors(next)));
  if (Buffer.byteLength(thenText ?? "") > MAX_INPUT_BYTES)
    errors.push({ at: "json/then", detail: `may have at most ${MAX_INPUT_BYTES} bytes of JSON` });
  refuse(errors);
  const found = findOpenTaskType(type);
  if (found) checkAvailable(env, [{ type: found, at: "json/type" }, ...typesOf(next)]);
  const [tags, guard] = [keptTags(body.tags), keptGuard(body)];
  return { id, cron, timeZone, type, input, then: thenText, ...tags, ...guard, overlap, missed, paused };
}

/**
 * The schedule that a stored one becomes by a change. Throws as `checkSchedule`. What stays as it is need not be valid any
 * more: a schedule whose type is gone can still be paused.
 */
export async function checkChange(
  env: Env,
  row: ScheduleRow,
  change: ScheduleChange,
  nowMs: number,
): Promise<ScheduleSpec> {
  const old = specOf(row);
  const { cron = old.cron, time_zone = old.timeZone, overlap = old.overlap, missed = old.missed } = change;
  const { paused = old.paused ?? false } = change;
  const { labels, errors } = labelsAfter(old, change);
  refuse(errors);
  if (change.type !== undefined || change.input !== undefined || change.then !== undefined) {
    const { type = old.type, input = JSON.parse(old.input), then = thenOf(old) } = change;
    const whole = { cron, time_zone, type, input, then: then ?? undefined, overlap, missed, paused };
    return { ...(await checkSchedule(env, row.id, whole, nowMs)), ...labels };
  }
  const { tags: _tags, guard: _guard, ...rest } = old;
  const spec = {
    ...rest,
    ...labels,
    cron: normalizePattern(cron),
    timeZone: time_zone,
    overlap,
    missed,
    paused,
  };
  const begins = old.paused === true && !paused;
  if (begins || spec.cron !== old.cron || spec.timeZone !== old.timeZone) refuse(timingErrors(spec, nowMs));
  return spec;
}

/** The tags and the guard after a change, in which null takes one away; and why they cannot be so. */
function labelsAfter(
  old: ScheduleSpec,
  change: ScheduleChange,
): { labels: Pick<ScheduleSpec, "tags" | "guard">; errors: FieldError[] } {
  const tags = change.tags === undefined ? (old.tags ? { tags: old.tags } : {}) : keptTags(change.tags ?? []);
  if (change.unique === undefined && change.debounce === undefined)
    return { labels: { ...tags, ...(old.guard ? { guard: old.guard } : {}) }, errors: [] };
  const before = old.guard ? guardMembersIn(old.guard) : {};
  const { unique = before.unique, debounce = before.debounce } = change;
  const members = { unique: unique ?? undefined, debounce: debounce ?? undefined };
  const wrong = guardError(members);
  const errors = wrong ? [{ at: `json/${wrong.at}`, detail: `${wrong.detail}, or null for the other` }] : [];
  return { labels: { ...tags, ...keptGuard(members) }, errors };
}

const thenOf = ({ then }: ScheduleSpec) => (then ? followUpsSchema.parse(JSON.parse(then)) : undefined);

function timingErrors(timing: Timing, nowMs: number): FieldError[] {
  const wrong = timingError(timing, nowMs);
  return wrong ? [{ at: wrong.at === "cron" ? "json/cron" : "json/time_zone", detail: wrong.detail }] : [];
}

async function taskErrors(name: string, input: string): Promise<FieldError[]> {
  const type = findOpenTaskType(name);
  if (!type)
    return [{ at: "json/type", detail: `There is no task type "${name}"; GET /task-types lists them.` }];
  return inputErrors(type, input, "json/input", MAX_INPUT_BYTES);
}

function refuse(errors: FieldError[]): void {
  if (errors.length > 0)
    throw new Problem("invalid", "The request's json is not what this route takes.", { errors });
}
