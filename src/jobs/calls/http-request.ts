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
import { fileId } from "../support/schemas.ts";
import { type Answer, keepAnswer, type SavedAnswer, saveAnswer } from "./answer.ts";
import { attemptCall } from "./call-failure.ts";
import { CALL_LIMITS, callShape, checkCall, methodSchema } from "./call-input.ts";

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
    save_as: fileId.optional().meta({
      description: "The id of the file that gets the body of the response. It replaces one of that id.",
    }),
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
  ...CALL_LIMITS,
  run: async (ctx, input) => attemptCall(ctx, input.retries, async () => callOnce(ctx, input)),
});

async function callOnce(ctx: TaskContext, input: Input): Promise<Answer | SavedAnswer> {
  const { upstream, method, path, expect, save_as: id } = input;
  ctx.progress(0, `${method} of ${upstream}`);
  const response = await fetchUpstream(
    { ...ctx, env: workerEnv, type: httpRequest.name },
    upstream,
    path,
    requestInit(input, ctx.taskId),
  );
  const answer =
    id === undefined
      ? await keepAnswer(response, expect)
      : await saveAnswer(workerEnv, ctx, response, expect, { id, filename: nameOf(path) });
  ctx.progress(1, `${method} of ${upstream}: ${answer.status}`);
  return answer;
}

function requestInit({ method, headers: given, body }: Input, taskId: string) {
  const headers = new Headers(given);
  if (typeof body === "object" && !headers.has("content-type"))
    headers.set("content-type", "application/json");
  setIdempotencyKey(headers, method, taskId);
  return {
    method,
    headers,
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  };
}

/** The task's id, as a structured field (draft-ietf-httpapi-idempotency-key-header), unless the caller has its own key. */
export function setIdempotencyKey(headers: Headers, method: string, taskId: string): void {
  if (SAFE_METHODS.includes(method) || headers.has("idempotency-key")) return;
  headers.set("idempotency-key", `"${taskId}"`);
}

/** What a path calls its resource. The path has been checked, so it can be decoded. */
function nameOf(path: string): string {
  const [pathname = ""] = path.split("?", 1);
  return decodeURIComponent(pathname.slice(pathname.lastIndexOf("/") + 1));
}
