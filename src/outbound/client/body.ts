/**
 * The bodies of a call, on their way. Each chunk refreshes the silence timeout, and the end of the response is
 * noticed in whatever way it comes: the permit is released then.
 */
import { asCoded } from "./coding.ts";
import { upstreamProblem } from "./errors.ts";
import type { SilenceTimeout } from "./silence-timeout.ts";

/** How long the end of a connection may take to reach the upstream, if it is near. */
export const CLOSING_MS = 2;

/** The most that is read into memory: of a small response, or of one that a retry may replace. */
export const MAX_READ_AHEAD_BYTES = 64 * 1024;

/**
 * Passes on at most `maxBytes`, and calls `onEnd` (possibly twice) when the last byte has gone by. When the body
 * breaks off, `onEnd` is called a moment later, so that the upstream sees this call end before another begins in its
 * place.
 */
export function trackResponseBody(
  body: ReadableStream<Uint8Array>,
  timeout: SilenceTimeout,
  maxBytes: number,
  onEnd: (error?: unknown) => void,
): ReadableStream<Uint8Array> {
  let size = 0;
  const onBreak = (error: unknown) => {
    setTimeout(() => onEnd(error ?? new Error("The reader stopped.")), CLOSING_MS);
  };
  const passing = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      timeout.refresh();
      size += chunk.length;
      if (size <= maxBytes) return controller.enqueue(chunk);
      const error = tooLarge(maxBytes);
      onBreak(error);
      throw error;
    },
    flush: () => onEnd(),
    cancel: onBreak,
  });
  timeout.signal.addEventListener("abort", () => onBreak(timeout.signal.reason), { once: true });
  // The signal is not passed to pipeThrough: workerd would leave a rejection unhandled. The fetch that it aborts
  // breaks the body off anyway.
  return body.pipeThrough(passing);
}

/** The same request. While its body is being sent, each chunk refreshes the timeout. */
export function trackRequestBody<T extends { body: unknown }>(request: T, timeout: SilenceTimeout): T {
  if (!(request.body instanceof ReadableStream)) return request;
  const passing = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      timeout.refresh();
      controller.enqueue(chunk);
    },
  });
  return { ...request, body: request.body.pipeThrough(passing) };
}

export const tooLarge = (maxBytes: number) =>
  upstreamProblem("response-too-large", `The upstream's response is longer than ${maxBytes} bytes.`);

/**
 * Reads a response into memory. If it is longer than `MAX_READ_AHEAD_BYTES`, returns one whose body begins with what
 * has been read.
 */
export async function readAhead(
  response: Response,
  timeout: SilenceTimeout,
): Promise<{ response: Response; isWhole: boolean }> {
  if (!response.body) return { response, isWhole: true };
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  for (let size = 0; size <= MAX_READ_AHEAD_BYTES; ) {
    const next = await reader.read().catch((error: unknown) => {
      timeout.signal.throwIfAborted();
      throw upstreamProblem("upstream-unreachable", "The upstream's response broke off.", error);
    });
    if (next.done) return { response: asCoded(Buffer.concat(chunks), response), isWhole: true };
    timeout.refresh();
    chunks.push(next.value);
    size += next.value.length;
  }
  const rest = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = chunks.shift() ?? (await reader.read()).value;
      if (chunk) controller.enqueue(chunk);
      else controller.close();
    },
    cancel: async (reason) => reader.cancel(reason),
  });
  return { response: asCoded(rest, response), isWhole: false };
}
