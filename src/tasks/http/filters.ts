/** The filters of `GET /tasks`, as parameters and as the members of a body: read alike. */
import { z } from "@hono/zod-openapi";
import { emptyIsAbsent } from "../../kernel/query.ts";
import { ANY_TIME, type Span, type TaskFilter } from "../ledger/task-filter.ts";
import { TASK_STATUSES } from "../ledger/task-state.ts";
import { MAX_TAGS, tagSchema } from "../types/tags.ts";
import { typeNameSchema } from "../types/type-name.ts";

const moment = z.iso.datetime({ offset: true });
const name = z.string().max(200);

/** The times that a filter may have: the tasks' creation, first start and end. */
const times = {
  created_after: moment.meta({ description: "Created at or after this time." }),
  created_before: moment.meta({ description: "Created before this time." }),
  started_after: moment.meta({ description: "Started at or after this time." }),
  started_before: moment.meta({ description: "Started before this time." }),
  finished_after: moment.meta({ description: "Ended at or after this time." }),
  finished_before: moment.meta({ description: "Ended before this time." }),
};
type Times = { [Name in keyof typeof times]?: string | undefined };

const others = {
  type: typeNameSchema,
  error: name.meta({ description: "The name of the error of the last attempt, such as `TypeError`." }),
  schedule: name.meta({ description: "The id of a schedule: its runs." }),
  text: name.meta({ description: "In the id, type, error or progress of the task, whatever the case." }),
};
type Others = { [Name in keyof typeof others]?: string | undefined };

const list = (text: string) => [...new Set(text.split(",").filter(Boolean))];

/** The parameters of `GET /tasks` that say which tasks. */
export const filterParams = {
  status: emptyIsAbsent(
    z
      .string()
      .transform(list)
      .pipe(z.array(z.enum(TASK_STATUSES))),
  ).meta({ description: "One or more statuses, separated by commas. `failed`: the dead letters." }),
  tag: emptyIsAbsent(z.string().transform(list).pipe(z.array(tagSchema).max(MAX_TAGS))).meta({
    description: "One or more tags, separated by commas: the task has all of them.",
  }),
  type: emptyIsAbsent(others.type),
  error: emptyIsAbsent(others.error),
  schedule: emptyIsAbsent(others.schedule),
  text: emptyIsAbsent(others.text),
  created_after: emptyIsAbsent(times.created_after),
  created_before: emptyIsAbsent(times.created_before),
  started_after: emptyIsAbsent(times.started_after),
  started_before: emptyIsAbsent(times.started_before),
  finished_after: emptyIsAbsent(times.finished_after),
  finished_before: emptyIsAbsent(times.finished_before),
};

/** The same as the members of a JSON object. */
export const filterSchema = z
  .strictObject({
    status: z.array(z.enum(TASK_STATUSES)).optional(),
    tag: z.array(tagSchema).max(MAX_TAGS).optional().meta({ description: "The task has all of them." }),
    type: others.type.optional(),
    error: others.error.optional(),
    schedule: others.schedule.optional(),
    text: others.text.optional(),
    created_after: times.created_after.optional(),
    created_before: times.created_before.optional(),
    started_after: times.started_after.optional(),
    started_before: times.started_before.optional(),
    finished_after: times.finished_after.optional(),
    finished_before: times.finished_before.optional(),
  })
  .meta({ id: "TaskFilter", description: "All members hold. Without any, every task matches." });

type FilterRequest = Others & Times & { status?: TaskFilter["statuses"]; tag?: string[] | undefined };

/** A filter as the ledger takes it. */
export function toFilter(
  request: { [Name in keyof FilterRequest]: FilterRequest[Name] | undefined },
): TaskFilter {
  const { status = [], tag, type, error, schedule, text } = request;
  return {
    statuses: status,
    type,
    tags: tag,
    error,
    scheduleId: schedule,
    text,
    created: spanOf(request.created_after, request.created_before) ?? ANY_TIME,
    started: spanOf(request.started_after, request.started_before),
    finished: spanOf(request.finished_after, request.finished_before),
  };
}

function spanOf(after: string | undefined, before: string | undefined): Span | undefined {
  if (after === undefined && before === undefined) return undefined;
  return {
    fromMs: after === undefined ? ANY_TIME.fromMs : Date.parse(after),
    untilMs: before === undefined ? ANY_TIME.untilMs : Date.parse(before),
  };
}
