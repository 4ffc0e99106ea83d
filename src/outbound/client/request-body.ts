/** The body of a received request, as it is sent on. */
import { Problem } from "../../kernel/problem.ts";
import { contentLength } from "./content-length.ts";
import { startSilenceTimeout } from "./silence-timeout.ts";
import { type RequestBody, readUpload, uploadedChunks } from "./upload.ts";

/** A body of at most this many bytes is read before it is sent, so that a retry or a redirect can send it again. */
const MAX_REPEATABLE_BYTES = 256 * 1024;

/**
 * The body of a received request: in memory if it is small, with its length if it is known. `timeoutMs` is the
 * longest silence of the client.
 *
 * Throws a 400 for GET and HEAD with a body. It has no meaning there, servers differ in what they do with it, and it
 * may be an attempt at request smuggling (RFC 9110 §9.3.1, §9.3.2); the runtime does not send it either. A body
 * without bytes is none, however it is framed.
 */
export async function bodyOf(received: Request, timeoutMs: number): Promise<RequestBody> {
  const { body, method, headers } = received;
  if (!body) return { body: null };
  const bodyLength = contentLength(headers);
  if (method === "GET" || method === "HEAD") {
    if (bodyLength !== 0) await refuseBytes(body, method, timeoutMs);
    return { body: null };
  }
  if (bodyLength !== undefined && bodyLength <= MAX_REPEATABLE_BYTES)
    return { body: await readUpload(body, timeoutMs) };
  return { body, bodyLength };
}

async function refuseBytes(
  body: ReadableStream<Uint8Array>,
  method: string,
  timeoutMs: number,
): Promise<void> {
  const timeout = startSilenceTimeout(timeoutMs, []);
  try {
    for await (const chunk of uploadedChunks(body, timeout)) {
      if (chunk.length === 0) continue;
      throw new Problem(
        "malformed",
        `A ${method} has no body (RFC 9110 §9.3). Put it into the query, or use another method.`,
      );
    }
  } finally {
    timeout.stop();
  }
}
