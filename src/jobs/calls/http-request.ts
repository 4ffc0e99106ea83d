/**
 * `http_request`: a call to an upstream as background work. It waits for its permit in the queue of the upstream's
 * semaphore, like any other call, and its task is retried until the upstream has responded as expected.
 *
 * All tries of a task have the same Idempotency-Key, so an upstream that honours it does the work once. With any other
 * upstream, the work may be done again: when a response is lost, or when the run dies between the response and its record.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import { fetchUpstream, SAFE_METHODS } from "../../outbound/index.ts";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { failureOf, lastOf, unexpected } from "./call-failure.ts";
import { callShape, checkCall, isExpected, methodSchema } from "./call-input.ts";
import { type KeptBody, keepBody } from "./response-body.ts";

/** After 2, 6, 18, 54 and 162 s, and so on, at most an hour. The input says how many of them there are. */
const RETRY = { retries: 10, minDelayMs: 2_000, maxDelayMs: 3_600_000, factor: 3 };

const bodySchema = z
  .union([z.string(), z.record(z.string(), z.unknown()), z.array(z.unknown())], {
    error: "text, or an object or array, which is sent as JSON",
  })
  .optional()
  .meta({ description: "Text is sent as it is, an object or array as JSON." });

const inputSchema = z
  .strictObject({
    upstream: callShape.upstream,
    method: methodSchema.default("GET"),
    path: callShape.path,
    headers: callShape.headers,
    body: bodySchema,
    expect: callShape.expect,
    retries: callShape.retries,
  })
  .superRefine((input, refinement) => {
    checkCall(input, refinement);
    if (input.body !== undefined && (input.method === "GET" || input.method === "HEAD"))
      refinement.addIssue({ code: "custom", path: ["body"], message: `a ${input.method} has no body` });
  })
  .meta({
    examples: [{ upstream: "shop", method: "POST", path: "/orders", body: { item: 7 }, expect: [201] }],
  });

type Input = z.output<typeof inputSchema>;

export const httpRequest = defineTask({
  name: "http_request",
  input: inputSchema,
  retry: RETRY,
  timeoutMs: 30 * 60_000,
  // A call that is cut off would be repeated, and in the fast lane it is cut off after 25 s.
  lane: "long",
  run: async (ctx, input) =>
    callOnce(ctx, input).catch((error: unknown) => {
      throw lastOf(failureOf(error, ctx), ctx, input.retries);
    }),
});

/** What the upstream responded, as the task's result. */
interface Answer extends KeptBody {
  status: number;
  headers: Record<string, string>;
}

async function callOnce(ctx: TaskContext, input: Input): Promise<Answer> {
  const { upstream, method, path } = input;
  ctx.progress(0, `${method} of ${upstream}`);
  const response = await fetchUpstream(
    { ...ctx, env: workerEnv, type: httpRequest.name },
    upstream,
    path,
    requestInit(input, ctx.taskId),
  );
  const kept = await keepBody(response);
  if (!isExpected(response.status, input.expect)) throw unexpected(response, textOf(kept));
  return { status: response.status, headers: headersOf(response), ...kept };
}

/** Without those that Sluice adds for a browser. */
function headersOf({ headers }: Response): Record<string, string> {
  const {
    "content-security-policy": _policy,
    "x-content-type-options": _sniffing,
    ...rest
  } = Object.fromEntries(headers);
  return rest;
}

function requestInit({ method, headers: given, body }: Input, taskId: string) {
  const headers = new Headers(given);
  if (typeof body === "object" && !headers.has("content-type"))
    headers.set("content-type", "application/json");
  if (!SAFE_METHODS.includes(method) && !headers.has("idempotency-key"))
    headers.set("idempotency-key", `"${taskId}"`);
  return {
    method,
    headers,
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  };
}

/** For a message: what a response says about itself. */
function textOf({ body, encoding }: KeptBody): string {
  if (encoding === "text") return String(body);
  return encoding === "json" ? JSON.stringify(body) : "";
}
