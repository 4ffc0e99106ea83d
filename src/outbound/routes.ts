import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../kernel/app.ts";
import { type Caller, callUpstream, upstreamFailed } from "./call.ts";
import { readDataSource } from "./upstreams.ts";

export const outboundRoutes = createRouter();

outboundRoutes.openapi(
  createRoute({
    method: "get",
    path: "/data",
    tags: ["Examples"],
    summary: "An upstream's JSON, through its semaphore",
    ...needs("read"),
    responses: {
      200: json("What the upstream answered.", z.unknown()),
      ...problems({ 503: "The upstream failed, or no permit came free in time." }),
    },
  }),
  async (c) => {
    const { upstream, path } = readDataSource(c.env);
    const { signal } = c.req.raw;
    const caller: Caller = { env: c.env, ctx: c.executionCtx, requestId: c.get("requestId"), signal };
    const response = await callUpstream(caller, upstream, path);
    if (response.status !== 200) {
      await response.body?.cancel();
      throw upstreamFailed(caller, upstream, new Error(`It answered ${response.status}.`));
    }
    // Read whole, so that an upstream that breaks off or is no JSON can still be answered with 503.
    const data: unknown = await response.json().catch((error: unknown) => {
      throw upstreamFailed(caller, upstream, error);
    });
    return c.json(data, 200);
  },
);
