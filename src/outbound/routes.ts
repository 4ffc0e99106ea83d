import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, needs, problems } from "../kernel/app.ts";
import { type Caller, callUpstream, upstreamFailed } from "./call.ts";
import { readDataSource } from "./upstreams.ts";

export const outboundRoutes = createRouter();

/** Not a literal type: the upstream's own JSON text is sent on, which the router's types would want as an object. */
const JSON_TYPE: string = "application/json";
/** In characters. */
const MOST_JSON = 10 * 1024 * 1024;

outboundRoutes.openapi(
  createRoute({
    method: "get",
    path: "/data",
    tags: ["Examples"],
    summary: "An upstream's JSON, through its semaphore",
    ...needs("read"),
    responses: {
      200: { description: "What the upstream answered.", content: { [JSON_TYPE]: { schema: z.unknown() } } },
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
    const text = await readJson(response).catch((error: unknown) => {
      throw upstreamFailed(caller, upstream, error);
    });
    return c.body(text, 200, { "Content-Type": JSON_TYPE });
  },
);

/** The text of a JSON answer, as it is: parsed and written again, large numbers would be others. */
async function readJson(response: Response): Promise<string> {
  let text = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (text.length > MOST_JSON) throw new RangeError(`It answered more than ${MOST_JSON} characters.`);
  }
  JSON.parse(text);
  return text;
}
