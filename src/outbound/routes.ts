import { createRoute, z } from "@hono/zod-openapi";
import { requireScope } from "../kernel/access.ts";
import { createRouter, json, needs, problems } from "../kernel/app.ts";
import type { Scope } from "../kernel/app-env.ts";
import { EVENT_STREAM } from "../kernel/event-stream.ts";
import { respondWithEvents } from "../kernel/open-streams.ts";
import { Problem } from "../kernel/problem.ts";
import { callerOf } from "./caller.ts";
import { hasClaim } from "./client/claim.ts";
import { pathAfterUpstream } from "./client/path.ts";
import { asksForWebSocket } from "./client/websocket.ts";
import { readData } from "./proxy/data.ts";
import { proxy } from "./proxy/proxy.ts";
import { statusSchema } from "./semaphore/status.ts";
import { changeSchema, toOverride } from "./settings.ts";
import { configure, statusListSchema, statusOf, statusOfAll } from "./steer.ts";
import { readUpstreams, SAFE_METHODS, type Upstream } from "./upstreams.ts";
import { watch } from "./watch.ts";

const SHARE_USED =
  "As many calls of the token already wait as its share of the queue allows. With Retry-After and RateLimit.";
const NO_PERMIT =
  "No permit: the queue is full, the wait too long, the upstream paused, or its breaker open. With Retry-After.";
const NOT_FOUND = { 404: "There is no such upstream." };
const params = z.object({ name: z.string().meta({ example: "demo" }) });
/** Not a literal type: with one, a handler could not return JSON that is text already. */
const JSON_TYPE: string = "application/json";

/** They need the scope `write`, whatever the method. */
const claimHeaders = z.object({
  "Sluice-Limit-Key": z.string().min(1).max(256).optional().meta({
    description:
      "For whom the call is made: calls with different keys take turns. Needs the scope `write`, and an upstream without `limit_key`.",
  }),
  "Sluice-Weight": z.int().min(1).optional().meta({
    description: "How many permits the call takes. Needs the scope `write`. Default: 1.",
  }),
});

const getData = createRoute({
  operationId: "getData",
  method: "get",
  path: "/data",
  tags: ["Examples"],
  summary: "An upstream's JSON, through its semaphore",
  ...needs("read"),
  responses: {
    200: { description: "The upstream's JSON.", content: { [JSON_TYPE]: { schema: z.unknown() } } },
    ...problems({ 429: SHARE_USED, 503: `The upstream failed. ${NO_PERMIT}` }),
  },
});

const listUpstreams = createRoute({
  operationId: "listUpstreams",
  method: "get",
  path: "/upstreams",
  tags: ["Outbound"],
  summary: "All upstreams, with the status of their semaphores",
  ...needs("read"),
  responses: { 200: json("All upstreams.", statusListSchema), ...problems() },
});

const getUpstream = createRoute({
  operationId: "getUpstream",
  method: "get",
  path: "/upstreams/{name}",
  tags: ["Outbound"],
  summary: "The status of an upstream's semaphore: who holds a permit, who waits, and why",
  ...needs("read"),
  request: { params },
  responses: { 200: json("Its status.", statusSchema), ...problems(NOT_FOUND) },
});

const updateUpstream = createRoute({
  operationId: "updateUpstream",
  method: "patch",
  path: "/upstreams/{name}",
  tags: ["Outbound"],
  summary: "Change a limit, or pause",
  description:
    "A member that is named is replaced whole. It takes effect at once and survives restarts, until it is reset with null.",
  ...needs("admin", "read"),
  request: { params, body: { required: true, content: { "application/json": { schema: changeSchema } } } },
  responses: {
    200: json("Its status, with the change in force.", statusSchema),
    ...problems({
      ...NOT_FOUND,
      400: "The body is not JSON.",
      413: "The body is too long.",
      415: "The Content-Type is not application/json.",
      422: "The body is not a valid change, or one that cannot be divided among the upstream's shards.",
    }),
  },
});

const watchUpstream = createRoute({
  operationId: "watchUpstream",
  method: "get",
  path: "/upstreams/{name}/events",
  tags: ["Outbound"],
  summary: "An upstream's status, and again after each change, as server-sent events",
  ...needs("read"),
  request: { params },
  responses: {
    200: {
      description: "Events named `status`. Each has the whole status.",
      content: { [EVENT_STREAM]: { schema: statusSchema } },
    },
    ...problems({ ...NOT_FOUND, 429: "The token has too many event streams open. With Retry-After." }),
  },
});

export const outboundRoutes = createRouter()
  .openapi(getData, async (c) => readData(callerOf(c), c.req.raw.headers))
  .openapi(listUpstreams, async (c) => {
    return c.json(await statusOfAll(c.env), 200, { "Cache-Control": "no-store" });
  })
  .openapi(getUpstream, async (c) => {
    const upstream = findUpstream(c.env, c.req.valid("param").name);
    return c.json(await statusOf(c.env, upstream), 200, { "Cache-Control": "no-store" });
  })
  .openapi(updateUpstream, async (c) => {
    const upstream = findUpstream(c.env, c.req.valid("param").name);
    const override = toOverride(c.req.valid("json"));
    const status = await configure(c.env, upstream, override);
    return c.json(status, 200, { "Cache-Control": "no-store" });
  })
  .openapi(watchUpstream, async (c) => {
    const upstream = findUpstream(c.env, c.req.valid("param").name);
    const { name } = c.get("principal");
    return respondWithEvents(c, async () => watch(c.env, upstream, name));
  });

// `{path}` may have slashes, which OpenAPI cannot say, so these are described here and routed below.
for (const method of ["get", "head", "options", "post", "put", "patch", "delete"] as const) {
  const name = method.toUpperCase();
  outboundRoutes.openAPIRegistry.registerPath({
    operationId: `${method}UpstreamPath`,
    method,
    path: "/fetch/{upstream}/{path}",
    tags: ["Outbound"],
    summary: `${name} a path of an upstream, through its semaphore`,
    description: `The upstream's \`methods\` in wrangler.toml must include ${name}.`,
    security: [{ token: scopesOf(name) }],
    request: {
      params: z.object({
        upstream: z.string().meta({ example: "demo" }),
        path: z.string().meta({
          description:
            "May have slashes, as in `todos/1`, and a query. Slashes must not be percent-encoded, unless the upstream " +
            "has `encoded_slashes`, but Swagger UI encodes them.",
          example: "todos",
        }),
      }),
      headers: claimHeaders,
    },
    responses: {
      default: { description: "The upstream's response, with Server-Timing and Cache-Status." },
      ...problems({
        400: "Another server could read the path differently, a GET has a body, the body broke off, or the limit key or weight is malformed.",
        404: "There is no such upstream.",
        405: "The upstream may not be called with this method.",
        408: "The request's body came too slowly.",
        422: "The call weighs more than the upstream or its limit key may have.",
        501: "The upstream has no WebSockets.",
        502: "The upstream cannot be reached, redirects where it may not, or sends too much. With Proxy-Status.",
        429: SHARE_USED,
        503: NO_PERMIT,
        504: "The upstream took too long, or only a stored response will do, and there is none.",
        508: "The call came back to this Sluice.",
      }),
    },
  });
}

outboundRoutes.all("/fetch/:upstream/*", async (c, next) => {
  const { headers } = c.req.raw;
  // A GET that becomes a WebSocket can send as much as it reads. And whoever names keys and weights decides who goes first.
  const method = asksForWebSocket(c.req.method, headers) || hasClaim(headers) ? "POST" : c.req.method;
  return requireScope(...scopesOf(method))(c, next);
});
outboundRoutes.all("/fetch/:upstream/*", async (c) => {
  const upstream = findUpstream(c.env, c.req.param("upstream"));
  return proxy(callerOf(c), upstream, pathAfterUpstream(c.req.url), c.req.raw);
});

function findUpstream(env: Env, name: string): Upstream {
  const upstream = readUpstreams(env).get(name);
  if (!upstream) throw new Problem("not-found", `There is no upstream "${name}". GET /upstreams lists them.`);
  return upstream;
}

/** Whatever the method, the response may show what the upstream stores. */
function scopesOf(method: string): Scope[] {
  return SAFE_METHODS.includes(method) ? ["read"] : ["write", "read"];
}
