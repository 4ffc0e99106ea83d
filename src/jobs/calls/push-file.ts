/**
 * `push_file`: a stored file to an upstream, streamed in constant memory under a permit, in one version from its first byte
 * to its last. What breaks off reaches the upstream as broken, never as a shorter file, and is sent again by the next
 * attempt, with the same Idempotency-Key.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import { fetchUpstream } from "../../outbound/index.ts";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { fileId } from "../support/schemas.ts";
import { openSource, type Source } from "../support/sources.ts";
import { type Answer, keepAnswer } from "./answer.ts";
import { attemptCall } from "./call-failure.ts";
import { CALL_LIMITS, callShape, checkCall } from "./call-input.ts";
import { setIdempotencyKey } from "./http-request.ts";

const inputSchema = z
  .strictObject({
    fileId,
    upstream: callShape.upstream,
    method: z.enum(["PUT", "POST"]).default("PUT"),
    path: callShape.path,
    headers: callShape.headers,
    expect: callShape.expect,
    retries: callShape.retries,
  })
  .superRefine(checkCall)
  .meta({ examples: [{ fileId: "report.pdf", upstream: "archive", path: "/reports/today.pdf" }] });

type Input = z.output<typeof inputSchema>;

interface PushedFile extends Answer {
  /** Of the file. */
  size: number;
  sha256: string;
}

export const pushFile = defineTask({
  name: "push_file",
  input: inputSchema,
  ...CALL_LIMITS,
  run: async (ctx, input) => attemptCall(ctx, input.retries, async () => pushOnce(ctx, input)),
});

async function pushOnce(ctx: TaskContext, input: Input): Promise<PushedFile> {
  const { upstream, method, path, expect } = input;
  const source = await openSource(ctx.signal, input.fileId);
  const { size, sha256 } = source.info;
  ctx.progress(0, `${method} of ${size} bytes to ${upstream}`);
  const response = await fetchUpstream({ ...ctx, env: workerEnv, type: pushFile.name }, upstream, path, {
    method,
    headers: headersFor(input, source, ctx.taskId),
    body: toStream(reported(ctx, source)),
  });
  return { ...(await keepAnswer(response, expect)), size, sha256 };
}

/** What describes the file (RFC 9530), unless the caller has said it otherwise. */
function headersFor({ method, headers: given }: Input, { info }: Source, taskId: string): Headers {
  const digest = `sha-256=:${Buffer.from(info.sha256, "hex").toString("base64")}:`;
  const headers = new Headers({
    "content-type": info.contentType,
    "content-digest": digest,
    "repr-digest": digest,
    ...lowerCased(given),
    "content-length": String(info.size),
  });
  setIdempotencyKey(headers, method, taskId);
  return headers;
}

const lowerCased = (headers: Record<string, string>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

async function* reported(ctx: TaskContext, source: Source): AsyncGenerator<Uint8Array, void> {
  const { size } = source.info;
  let sent = 0;
  for await (const chunk of source.chunks()) {
    yield chunk;
    sent += chunk.length;
    ctx.progress(sent / size, `${sent} of ${size} bytes sent`);
  }
}

/** Nothing is read before it is asked for. */
function toStream(chunks: AsyncGenerator<Uint8Array, void>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await chunks.return();
      },
    },
    { highWaterMark: 0 },
  );
}
