/**
 * A body on its way from a client to an upstream.
 *
 * Invariant: the upstream never takes a part for the whole. When the client's body breaks off, stalls or crawls, the
 * fetch is aborted, and the upstream sees its connection break. A stream of JavaScript could not do that: workerd
 * ends a request's body normally when such a stream fails. So the bytes go through a native stream, which is closed
 * only after the last of them, and keeps the Content-Length if there is one.
 */
import { Problem } from "../../kernel/problem.ts";
import { readChunks } from "./chunks.ts";
import { isUpstreamFault } from "./errors.ts";
import { CLIENT_PACE, Pace, type PaceLimits } from "./pace.ts";
import { requestTimeout, type SilenceTimeout, startSilenceTimeout } from "./silence-timeout.ts";

/** How slowly a client may send. */
export interface UploadLimits extends PaceLimits {
  maxMs: number;
}

const UPLOAD_LIMITS: UploadLimits = { ...CLIENT_PACE, maxMs: 15 * 60_000 };

/** What a request has for its upstream: bytes, which can be sent again, or a stream, with its length if it is known. */
export interface RequestBody {
  body: ReadableStream<Uint8Array> | Uint8Array | null;
  bodyLength?: number | undefined;
}

/** A body on its way: what `fetch` gets, and when all of it has been sent. */
export interface Upload {
  body: RequestBody["body"];
  /** Resolves when the response may be read. Rejects if the client fails to deliver the body. */
  sent: Promise<void>;
}

/**
 * Starts to send a body. If the client fails to deliver its own, the call is aborted with a `Problem`.
 *
 * A response may be over before the upload, and then the runtime sends no more of it. With a known length, the upstream
 * sees that something is missing. Without one it would not, since the runtime ends the body as if it were whole. So
 * `sent` must be awaited before the response is read (half duplex, as in the Fetch standard).
 */
export function startUpload({ body, bodyLength }: RequestBody, timeout: SilenceTimeout): Upload {
  if (!(body instanceof ReadableStream)) return { body, sent: Promise.resolve() };
  const { readable, writable } =
    bodyLength === undefined ? new IdentityTransformStream() : new FixedLengthStream(bodyLength);
  const sent = send(body, bodyLength, writable.getWriter(), timeout)
    .catch((error: unknown) => {
      if (error instanceof RestRefused) return;
      timeout.abort(error);
      if (!isUpstreamFault(error)) throw error;
    })
    .finally(() => timeout.waitFor("upload"));
  sent.catch(() => undefined); // the call has been aborted with it
  return { body: readable, sent: bodyLength === undefined ? sent : Promise.resolve() };
}

async function send(
  body: ReadableStream<Uint8Array>,
  length: number | undefined,
  writer: WritableStreamDefaultWriter<Uint8Array>,
  timeout: SilenceTimeout,
): Promise<void> {
  let sent = 0;
  for await (const chunk of uploadedChunks(body, timeout)) {
    sent += chunk.length;
    if (length !== undefined && sent > length) throw wrongLength(length);
    timeout.waitFor("upload", "upstream");
    await writer.write(chunk).catch(refuseRest);
  }
  if (length !== undefined && sent < length) throw wrongLength(length);
  timeout.waitFor("upload");
  await writer.close().catch(refuseRest);
}

/** The upstream takes no more. What it has to say about that, the fetch says. */
class RestRefused extends Error {}

function refuseRest(cause: unknown): never {
  throw new RestRefused("The upstream takes no more.", { cause });
}

const wrongLength = (length: number) =>
  new Problem("malformed", `The body does not have the ${length} bytes that its Content-Length says.`);

/** Reads a body into memory, under the same limits. `timeoutMs` is the longest silence. */
export async function readUpload(body: ReadableStream<Uint8Array>, timeoutMs: number): Promise<Uint8Array> {
  const timeout = startSilenceTimeout(timeoutMs, []);
  try {
    const chunks: Uint8Array[] = [];
    for await (const chunk of uploadedChunks(body, timeout)) chunks.push(chunk);
    return Buffer.concat(chunks);
  } finally {
    timeout.stop();
  }
}

/**
 * The chunks of a client's body. Throws a 400 `client-gone` if it breaks off, a 408 `request-timeout` if it comes too
 * slowly, and whatever the call was aborted with.
 */
export async function* uploadedChunks(
  body: ReadableStream<Uint8Array>,
  timeout: SilenceTimeout,
  limits: UploadLimits = UPLOAD_LIMITS,
): AsyncGenerator<Uint8Array, void> {
  const reader = readChunks(body);
  const pace = new Pace(limits);
  const startedAtMs = Date.now();
  // Ends a pending read.
  const onAbort = () => reader.cancel(timeout.signal.reason);
  timeout.signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      timeout.waitFor("upload", "client");
      const askedAtMs = Date.now();
      const chunk = await reader.read().catch((error: unknown) => {
        timeout.signal.throwIfAborted();
        throw new Problem("client-gone", "The request's body broke off.", { cause: error });
      });
      timeout.signal.throwIfAborted();
      if (!chunk) return;
      const nowMs = Date.now();
      if (!pace.isKept(chunk.length, nowMs - askedAtMs))
        throw requestTimeout(
          `A request's body must come at ${limits.minBytesPerSecond} bytes a second at least.`,
        );
      if (nowMs - startedAtMs > limits.maxMs)
        throw requestTimeout(`A request's body must be over after ${limits.maxMs / 60_000} minutes.`);
      yield chunk;
    }
  } finally {
    timeout.signal.removeEventListener("abort", onAbort);
    reader.cancel();
  }
}
