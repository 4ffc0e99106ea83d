/** `GET /events`: what happens to all tasks, schedules, files and upstreams, or to some tasks, in one stream; also by a link. */
import { createRoute, z } from "@hono/zod-openapi";
import { watchFiles } from "../files/index.ts";
import { createRouter, json, needs, needsWithin, openProblems, problems } from "../kernel/app.ts";
import type { Principal } from "../kernel/app-env.ts";
import { EVENT_STREAM } from "../kernel/event-stream.ts";
import { checkUntil, lifetimeSchema, linkSchema, signUntil } from "../kernel/links.ts";
import { mergeEvents, type Watched } from "../kernel/merged-events.ts";
import { respondWithEvents } from "../kernel/open-streams.ts";
import { Problem } from "../kernel/problem.ts";
import { emptyIsAbsent } from "../kernel/query.ts";
import { watchUpstreams } from "../outbound/index.ts";
import {
  type WatchedTasks,
  watchedTasksParams,
  watchedTasksSchema,
  watchSchedules,
  watchTasks,
} from "../tasks/index.ts";

const EVENTS =
  "The events `tasks` (`tasks`: those that were added or have changed, as in a list; `removed`: ids), `files` (the same of " +
  "files, without `url`), `schedules` (the same by ids alone), `reset` (something was missed: read the list of what `of` " +
  "names), `upstream` (its status) and `begin` (`lacking`: the objects that do not " +
  "respond). They are not numbered: after a reconnection, read the lists again. When nothing happens for minutes, the " +
  "stream ends with `idle` and a `retry` of a minute.";
const OF_SOME =
  "With `type` or `tag`, only those tasks, and nothing else; `removed` still has ids of others. A bound token watches files " +
  "within its bounds; with the scope `own`, `removed` is empty.";
const query = z.object(watchedTasksParams);
const responses = {
  200: { description: `${EVENTS} ${OF_SOME}`, content: { [EVENT_STREAM]: { schema: z.string() } } },
};

const KINDS = ["tasks", "schedules", "files", "upstreams"] as const;
type Kind = (typeof KINDS)[number];
/** What a bound token may watch, within its bounds. */
const BOUND_KINDS: readonly Kind[] = ["files"];

const kindsSchema = z
  .string()
  .transform((text) => [...new Set(text.split(",").filter(Boolean))])
  .pipe(z.array(z.enum(KINDS)));
const kinds = emptyIsAbsent(kindsSchema).meta({
  description: `What to watch, separated by commas: ${KINDS.join(", ")}. Objects that keep nothing of it are not called. Default: all.`,
});

const route = createRoute({
  operationId: "watchEverything",
  method: "get",
  path: "/events",
  tags: ["Service"],
  summary: "Watch all tasks, schedules, files and upstreams, or some tasks, as server-sent events",
  ...needsWithin("read"),
  request: { query: query.extend({ kinds }) },
  responses: {
    ...responses,
    ...problems({
      422: "A parameter is not valid; `errors` says which.",
      429: "The token has too many event streams open. With Retry-After.",
    }),
  },
});

const createLinkRoute = createRoute({
  operationId: "createTasksLink",
  method: "post",
  path: "/events/links",
  tags: ["Service"],
  summary: "Create a link to the events of some tasks that needs no token",
  description:
    "Anyone who has the URL can watch the tasks that the filter names (without one, all of them), and do nothing else, until " +
    "the link expires.",
  ...needs("write", "read"),
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: watchedTasksSchema.extend({ expires_in: lifetimeSchema }),
          example: { type: "task_a", expires_in: 3600 },
        },
      },
    },
  },
  responses: {
    201: json("The link.", linkSchema),
    ...problems({
      400: "The body is not valid JSON.",
      413: "The body is too long.",
      415: "The body is not application/json.",
      422: "A member is not valid; `errors` says which.",
      503: "The secret LINK_KEYS is not set.",
    }),
  },
});

const byLinkRoute = createRoute({
  operationId: "watchTasksByLink",
  method: "get",
  path: "/events/links/{token}",
  tags: ["Service"],
  summary: "Watch some tasks by a link",
  description: "As `GET /events`, without a token. The filter is part of what is signed.",
  security: [],
  request: { params: z.object({ token: z.string() }), query },
  responses: {
    ...responses,
    ...openProblems({
      403: "The link is not valid, not for this filter, or has expired.",
      422: "A parameter is not valid; `errors` says which.",
      429: "The link has too many event streams open. With Retry-After.",
      503: "The objects that keep tasks do not respond. With Retry-After.",
    }),
  },
});

export const eventsRoute = createRouter()
  .openapi(route, async (c) => {
    const { kinds: asked, ...filter } = c.req.valid("query");
    const principal = c.get("principal");
    const all = principal.bounds ? BOUND_KINDS : KINDS;
    const chosen = asked ?? (isOfAll(filter) ? all : ["tasks" as const]);
    const beyond = chosen.find((kind) => !all.includes(kind));
    if (beyond !== undefined)
      throw new Problem("forbidden", `This token is bound, and may not watch ${beyond}.`);
    const watched = await Promise.all(chosen.map(async (kind) => watch(c.env, kind, principal, filter)));
    return respondWithEvents(c, async () => mergeEvents(watched.flat()));
  })
  .openapi(createLinkRoute, async (c) => {
    const { expires_in, type, tag } = c.req.valid("json");
    const { token, expiresAt } = signUntil(c.env, subjectOf({ type, tag }), expires_in, Date.now());
    const url = new URL(`/events/links/${token}`, c.req.url);
    if (type !== undefined) url.searchParams.set("type", type);
    if (tag !== undefined && tag.length > 0) url.searchParams.set("tag", tag.join(","));
    const { href } = url;
    return c.json({ url: href, expiresAt }, 201, { "Cache-Control": "no-store", Location: href });
  });

/** Open to everyone: a link needs no token. */
export const eventsLinkRoute = createRouter().openapi(byLinkRoute, async (c) => {
  const filter = c.req.valid("query");
  const subject = subjectOf(filter);
  checkUntil(c.env, subject, c.req.valid("param").token, Date.now());
  // Streams by links do not count as those of whoever made the links.
  const watched = await watchTasks(c.env, `link to ${subject}`, filter);
  const response = await respondWithEvents(c, async () => mergeEvents(watched));
  response.headers.set("Access-Control-Allow-Origin", "*");
  return response;
});

/** The objects that keep things of a kind. */
async function watch(
  env: Env,
  kind: Kind,
  { name: caller, bounds }: Principal,
  filter: WatchedTasks,
): Promise<Watched[]> {
  switch (kind) {
    case "tasks":
      return watchTasks(env, caller, filter);
    case "schedules":
      return [watchSchedules(env, caller)];
    case "files":
      return watchFiles(env, caller, bounds);
    case "upstreams":
      return watchUpstreams(env, caller);
  }
}

const isOfAll = ({ type, tag = [] }: WatchedTasks): boolean => type === undefined && tag.length === 0;

/** What a link is signed for. */
const subjectOf = ({ type, tag = [] }: WatchedTasks): string =>
  `sluice-events\n${JSON.stringify([type ?? null, tag.toSorted()])}`;
