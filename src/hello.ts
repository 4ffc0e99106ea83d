import { createRoute } from "@hono/zod-openapi";
import { createRouter, needsWithin, problems } from "./kernel/app.ts";

/** Not a literal type: with a literal text type, the router's types would not allow a stream. */
const TEXT: string = "text/plain; charset=utf-8";

/** `GET /hello`: a response that begins at once and continues a second later. */
export const hello = createRouter().openapi(
  createRoute({
    method: "get",
    path: "/hello",
    operationId: "getHello",
    tags: ["Examples"],
    summary: "A streamed response",
    ...needsWithin("read"),
    responses: {
      200: {
        description: "`Hello,` at once, `world!` a second later.",
        content: { [TEXT]: { schema: { type: "string" } } },
      },
      ...problems(),
    },
  }),
  // Without an explicit encoding, a proxy may hold the first chunk back to compress the whole.
  (c) =>
    c.body(greeting(), 200, {
      "Content-Type": TEXT,
      "Content-Encoding": "identity",
      "X-Accel-Buffering": "no",
    }),
);

function greeting(): ReadableStream<Uint8Array> {
  const words = ["Hello,", "world!"];
  const encoder = new TextEncoder();
  let next = 0;
  return new ReadableStream({
    async pull(controller) {
      if (next > 0) await scheduler.wait(1000);
      controller.enqueue(encoder.encode(words[next++]));
      if (next === words.length) controller.close();
    },
  });
}
