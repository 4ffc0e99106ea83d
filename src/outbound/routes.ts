import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { requireScope } from "../kernel/access.ts";
import { createRouter, json, needs, problems } from "../kernel/app.ts";
import { type AppEnv } from "../kernel/app-env.ts";
import { Problem } from "../kernel/problem.ts";
import type { Caller } from "./client/client.ts";
import { semaphoreOf } from "./client/permit.ts";
import { readData } from "./proxy/data.ts";
import { proxy } from "./proxy/proxy.ts";
import { statusSchema } from "./semaphore/status.ts";
import { changeSchema, readUpstreams, toOverride, type Upstream } from "./upstreams.ts";

export const outboundRoutes = createRouter();

const LIMITED =
  "No permit: the queue is full, the wait too long, the upstream paused, or its breaker open. With Retry-After.";
const NO_SUCH = { 404: "No such upstream." };
const params = z.object({ name: z.string() });
/** Not literal types: for those, the router's types would allow neither a stream nor JSON that is text already. */
const EVENT_STREAM: string = "text/event-stream";
const JSON_TYPE: string = "application/json";

outboundRoutes.openapi(
  createRoute({
    method: "get",
    path: "/data",
    tags: ["Examples"],
    summary: "An upstream's JSON, through its semaphore",
    ...needs("read"),
    responses: {
      200: { description: "What the upstream answered.", content: { [JSON_TYPE]: { schema: z.unknown() } } },
      ...problems({ 503: `The upstream failed. ${LIMITED}` }),
    },
  }),
  async (c) => readData(callerOf(c), c.req.raw.headers),
);

for (const method of ["get", "head", "options", "post", "put", "patch", "delete"] as const) {
  outboundRoutes.openAPIRegistry.registerPath({
    method,
    path: "/fetch/{upstream}/{path}",
    tags: ["Outbound"],
    summary: `${method.toUpperCase()} a path of an upstream, through its semaphore`,
    security: [{ token: [scopeOf(method.toUpperCase())] }],
    request: {
      params: z.object({ upstream: z.string(), path: z.string().meta({ description: "May have slashes." }) }),
    },
    responses: {
      default: { description: "What the upstream answered, with Server-Timing and Cache-Status." },
      ...problems({
        400: "The path could be read as another one.",
        404: "No such upstream.",
        405: "The upstream may not be called with this method.",
        502: "The upstream cannot be reached, redirects where it may not, or answers too much. With Proxy-Status.",
        503: LIMITED,
        504: "The upstream took too long.",
        508: "The call came back to this Sluice.",
      }),
    },
  });
}

outboundRoutes.all("/fetch/:upstream/*", async (c, next) => requireScope(scopeOf(c.req.method))(c, next));
outboundRoutes.all("/fetch/:upstream/*", async (c) => {
  const upstream = findUpstream(c.env, c.req.param("upstream"));
  const { pathname, search } = new URL(c.req.url);
  const path = pathname.slice(`/fetch/${upstream.name}`.length);
  return proxy(callerOf(c), upstream, path + search, c.req.raw);
});

outboundRoutes.openapi(
  createRoute({
    method: "get",
    path: "/upstreams",
    tags: ["Outbound"],
    summary: "The upstreams, and what their semaphores are doing",
    ...needs("read"),
    responses: { 200: json("All of them.", z.object({ upstreams: z.array(statusSchema) })), ...problems() },
  }),
  async (c) => {
    const all = [...readUpstreams(c.env).values()];
    const upstreams = await Promise.all(all.map(async (upstream) => semaphoreOf(c.env, upstream).status()));
    return c.json({ upstreams }, 200, { "Cache-Control": "no-store" });
  },
);

outboundRoutes.openapi(
  createRoute({
    method: "get",
    path: "/upstreams/{name}",
    tags: ["Outbound"],
    summary: "What an upstream's semaphore is doing: who holds a permit, who waits, and why",
    ...needs("read"),
    request: { params },
    responses: { 200: json("Its status.", statusSchema), ...problems(NO_SUCH) },
  }),
  async (c) => {
    const status = await semaphoreOf(c.env, findUpstream(c.env, c.req.valid("param").name)).status();
    return c.json(status, 200, { "Cache-Control": "no-store" });
  },
);

outboundRoutes.openapi(
  createRoute({
    method: "patch",
    path: "/upstreams/{name}",
    tags: ["Outbound"],
    summary:
      "Change a limit, or pause, at once and until it is reset with null (a JSON merge patch, RFC 7396)",
    ...needs("admin"),
    request: { params, body: { required: true, content: { "application/json": { schema: changeSchema } } } },
    responses: {
      200: json("Its status, with the change in force.", statusSchema),
      ...problems({ ...NO_SUCH, 400: "Not JSON.", 415: "Not said to be JSON.", 422: "Not such a change." }),
    },
  }),
  async (c) => {
    const upstream = findUpstream(c.env, c.req.valid("param").name);
    const status = await semaphoreOf(c.env, upstream).configure(toOverride(c.req.valid("json")));
    return c.json(status, 200, { "Cache-Control": "no-store" });
  },
);

outboundRoutes.openapi(
  createRoute({
    method: "get",
    path: "/upstreams/{name}/events",
    tags: ["Outbound"],
    summary: "An upstream's status, and again after each change, as server-sent events",
    ...needs("read"),
    request: { params },
    responses: {
      200: {
        description: "Events named `status`, each with the whole status.",
        content: { [EVENT_STREAM]: { schema: statusSchema } },
      },
      ...problems(NO_SUCH),
    },
  }),
  async (c) => {
    const events = await semaphoreOf(c.env, findUpstream(c.env, c.req.valid("param").name)).events();
    return c.body(events, 200, {
      "Content-Type": EVENT_STREAM,
      "Cache-Control": "no-store",
      "Content-Encoding": "identity",
    });
  },
);

function findUpstream(env: Env, name: string): Upstream {
  const upstream = readUpstreams(env).get(name);
  if (!upstream) throw new Problem("not-found", `There is no upstream "${name}".`);
  return upstream;
}

function scopeOf(method: string): "read" | "write" {
  return ["GET", "HEAD", "OPTIONS"].includes(method) ? "read" : "write";
}

function callerOf(c: Context<AppEnv>): Caller {
  const { env, executionCtx: ctx } = c;
  const { signal } = c.req.raw;
  return {
    env,
    ctx,
    signal,
    requestId: c.get("requestId"),
    name: c.get("principal").name,
    priority: "interactive",
  };
}
