/** `GET /events`: what happens to all tasks and upstreams, in one stream. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, needs, problems } from "../kernel/app.ts";
import { mergeEvents } from "../kernel/merged-events.ts";
import { tooManyStreams } from "../kernel/open-streams.ts";
import { watchUpstreams } from "../outbound/index.ts";
import { watchTasks } from "../tasks/index.ts";

/** Not a literal: with one, a handler could not return a stream. */
const EVENT_STREAM: string = "text/event-stream";

const route = createRoute({
  operationId: "watchEverything",
  method: "get",
  path: "/events",
  tags: ["Service"],
  summary: "Watch all tasks and upstreams as server-sent events",
  ...needs("read"),
  responses: {
    200: {
      description:
        "The events `tasks` (`tasks`: those that were added or have changed, as in a list; `removed`: ids), `reset` " +
        "(something was missed: read the list), `upstream` (its status) and `begin` (`lacking`: the objects that do not " +
        "respond). They are not numbered: after a reconnection, read the lists again. When nothing happens for minutes, the " +
        "stream ends with `idle` and a `retry` of a minute.",
      content: { [EVENT_STREAM]: { schema: z.string() } },
    },
    ...problems({ 429: "The token has too many event streams open. With Retry-After." }),
  },
});

export const eventsRoute = createRouter().openapi(route, async (c) => {
  const { name } = c.get("principal");
  const watched = [...(await watchTasks(c.env, name)), ...watchUpstreams(c.env, name)];
  const stream = await mergeEvents(watched);
  if (stream === "too-many") throw tooManyStreams();
  return c.body(stream, 200, { "Content-Type": EVENT_STREAM, "Cache-Control": "no-store" });
});
