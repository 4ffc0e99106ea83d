/** `GET /events`: what happens to all tasks, schedules, files and upstreams, in one stream. */
import { createRoute, z } from "@hono/zod-openapi";
import { watchFiles } from "../files/index.ts";
import { createRouter, needs, problems } from "../kernel/app.ts";
import { mergeEvents, type Watched } from "../kernel/merged-events.ts";
import { tooManyStreams } from "../kernel/open-streams.ts";
import { emptyIsAbsent } from "../kernel/query.ts";
import { watchUpstreams } from "../outbound/index.ts";
import { watchSchedules, watchTasks } from "../tasks/index.ts";

/** Not a literal: with one, a handler could not return a stream. */
const EVENT_STREAM: string = "text/event-stream";

const KINDS = ["tasks", "schedules", "files", "upstreams"] as const;
type Kind = (typeof KINDS)[number];

const kindsSchema = z
  .string()
  .transform((text) => [...new Set(text.split(",").filter(Boolean))])
  .pipe(z.array(z.enum(KINDS)));

const route = createRoute({
  operationId: "watchEverything",
  method: "get",
  path: "/events",
  tags: ["Service"],
  summary: "Watch all tasks, schedules, files and upstreams as server-sent events",
  ...needs("read"),
  request: {
    query: z.object({
      kinds: emptyIsAbsent(kindsSchema).meta({
        description: `What to watch, separated by commas: ${KINDS.join(", ")}. Objects that keep nothing of it are not called. Default: all.`,
      }),
    }),
  },
  responses: {
    200: {
      description:
        "The events `tasks` (`tasks`: those that were added or have changed, as in a list; `removed`: ids), `files` (the same " +
        "of files, without `url`), `schedules` (the same by ids alone), `reset` (something was missed: read the list of what " +
        "`of` names), `upstream` (its status) and `begin` (`lacking`: the objects that do not " +
        "respond). They are not numbered: after a reconnection, read the lists again. When nothing happens for minutes, the " +
        "stream ends with `idle` and a `retry` of a minute.",
      content: { [EVENT_STREAM]: { schema: z.string() } },
    },
    ...problems({
      422: "`kinds` has something else than kinds.",
      429: "The token has too many event streams open. With Retry-After.",
    }),
  },
});

export const eventsRoute = createRouter().openapi(route, async (c) => {
  const { name } = c.get("principal");
  const { kinds = KINDS } = c.req.valid("query");
  const watched = await Promise.all(kinds.map(async (kind) => watch(c.env, kind, name)));
  const stream = await mergeEvents(watched.flat());
  if (stream === "too-many") throw tooManyStreams();
  return c.body(stream, 200, { "Content-Type": EVENT_STREAM, "Cache-Control": "no-store" });
});

/** The objects that keep things of a kind. `caller` is the name of the token. */
async function watch(env: Env, kind: Kind, caller: string): Promise<Watched[]> {
  switch (kind) {
    case "tasks":
      return watchTasks(env, caller);
    case "schedules":
      return [watchSchedules(env, caller)];
    case "files":
      return watchFiles(env, caller);
    case "upstreams":
      return watchUpstreams(env, caller);
  }
}
