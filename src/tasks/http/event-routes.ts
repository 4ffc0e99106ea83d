/** Watching a task, also by a link: a browser's `EventSource` cannot send a token. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { createRouter, json, needs, openProblems, problems } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import {
  EVENT_HEADERS,
  EVENT_STREAM,
  lastEventHeaders,
  lastEventOf,
  lastEventQuery,
} from "../../kernel/event-stream.ts";
import { checkUntil, linkBody, linkSchema, signUntil } from "../../kernel/links.ts";
import { tooManyStreams } from "../../kernel/open-streams.ts";
import { emptyIsAbsent } from "../../kernel/query.ts";
import { callLedger, ledgerOf } from "../ledger/shards.ts";
import { ITEM_PROBLEMS, JSON_PROBLEMS, LEDGER_PROBLEMS, NO_STORE, orNotFound, params } from "./responses.ts";

const RESPONSES = {
  200: {
    description:
      "The events `status`, `progress` and `step`, numbered from 1, and comments while nothing happens. " +
      "After five minutes without an event the stream ends, with a `retry` of a minute.",
    content: { [EVENT_STREAM]: { schema: z.string() } },
  },
  204: { description: "Last-Event-ID was the last event, and the task has ended or `follow` is `false`." },
};
const INVALID = { 422: "Last-Event-ID or `lastEventId` is not a number." };

const follow = emptyIsAbsent(z.enum(["true", "false"])).meta({
  description: "`false`: the stream has the events so far, and ends. Default: `true`.",
});

const eventsRoute = createRoute({
  operationId: "watchTask",
  method: "get",
  path: "/tasks/{id}/events",
  tags: ["Tasks"],
  summary: "Watch a task as server-sent events, until it has ended",
  ...needs("read"),
  request: { params, query: lastEventQuery.extend({ follow }), headers: lastEventHeaders },
  responses: {
    ...RESPONSES,
    ...problems({
      ...ITEM_PROBLEMS,
      429: "The token has too many event streams open. With Retry-After.",
      422: `${INVALID[422]} Or \`follow\` is neither true nor false.`,
    }),
  },
});

const createLinkRoute = createRoute({
  operationId: "createEventsLink",
  method: "post",
  path: "/tasks/{id}/events/links",
  tags: ["Tasks"],
  summary: "Create a link to the events of a task that needs no token",
  description:
    "Anyone who has the URL can watch this task, and do nothing else, until the link expires: `new EventSource(url)`, from a " +
    "page of any site.",
  ...needs("write", "read"),
  request: { params, body: linkBody },
  responses: {
    201: json("The link.", linkSchema),
    ...problems({
      ...ITEM_PROBLEMS,
      ...JSON_PROBLEMS,
      422: "`expires_in` is invalid.",
      503: `${LEDGER_PROBLEMS[503]} Or the secret LINK_KEYS is not set.`,
    }),
  },
});

const eventsByLinkRoute = createRoute({
  operationId: "watchTaskByLink",
  method: "get",
  path: "/tasks/{id}/events/links/{token}",
  tags: ["Tasks"],
  summary: "Watch a task by a link",
  description: "As `GET /tasks/{id}/events`, without a token.",
  security: [],
  request: {
    params: params.extend({ token: z.string() }),
    query: lastEventQuery,
    headers: lastEventHeaders,
  },
  responses: {
    ...RESPONSES,
    ...openProblems({
      403: "The link is not valid or has expired.",
      ...ITEM_PROBLEMS,
      ...INVALID,
      429: "The link has too many event streams open. With Retry-After.",
    }),
  },
});

export const taskEventRoutes = createRouter()
  .openapi(eventsRoute, async (c) => {
    const after = lastEventOf(c.req.valid("header"), c.req.valid("query"));
    const { follow: follows } = c.req.valid("query");
    const caller = c.get("principal").name;
    return watchTask(c, c.req.valid("param").id, { after, caller, follows: follows !== "false" });
  })
  .openapi(createLinkRoute, async (c) => {
    const { id } = c.req.valid("param");
    orNotFound(await callLedger(async () => ledgerOf(c.env, id)?.getTask(id)), id);
    const { token, expiresAt } = signUntil(c.env, eventsOf(id), c.req.valid("json").expires_in, Date.now());
    const url = new URL(`/tasks/${id}/events/links/${token}`, c.req.url).href;
    return c.json({ url, expiresAt }, 201, { ...NO_STORE, Location: url });
  });

/** Open to everyone: a link needs no token. */
export const taskEventLinkRoutes = createRouter().openapi(eventsByLinkRoute, async (c) => {
  const { id, token } = c.req.valid("param");
  checkUntil(c.env, eventsOf(id), token, Date.now());
  const after = lastEventOf(c.req.valid("header"), c.req.valid("query"));
  // Streams by links do not count as those of whoever made the links.
  const response = await watchTask(c, id, { after, caller: `link to ${id}`, follows: true });
  response.headers.set("Access-Control-Allow-Origin", "*");
  return response;
});

/** What a link is signed for. */
const eventsOf = (taskId: string): string => `sluice-task-events\n${taskId}`;

interface Reader {
  /** The event after which it continues. */
  after: number;
  caller: string;
  /** Whether it also reads what is still to come. */
  follows: boolean;
}

async function watchTask(c: Context<AppEnv>, id: string, { after, caller, follows }: Reader) {
  const opened = await callLedger(async () => ledgerOf(c.env, id)?.watch(id, after, caller, follows));
  const stream = orNotFound(opened, id);
  if (stream === "too-many") throw tooManyStreams();
  if (stream === "over") return c.body(null, 204, NO_STORE);
  if (c.req.method !== "HEAD") return c.body(stream, 200, EVENT_HEADERS);
  // Nobody would read it, and it would count as open.
  await stream.cancel();
  return c.body(null, 200, EVENT_HEADERS);
}
