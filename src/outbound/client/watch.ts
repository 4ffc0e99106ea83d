/** Watching a call to its end: that something happens in time, and that the end is noticed, whatever it is. */
import { upstreamProblem } from "./errors.ts";

export interface Watch {
  /** Aborts when nothing has happened for too long, or when one of the given signals does. */
  signal: AbortSignal;
  /** Something has happened. */
  touch(): void;
  stop(): void;
}

export function startWatch(timeoutMs: number, signals: AbortSignal[]): Watch {
  const timeout = new AbortController();
  let lastMs = Date.now();
  // Looks when time may be up, not at every touch: a body has many chunks.
  const look = () => {
    const quietMs = Date.now() - lastMs;
    if (quietMs < timeoutMs) timer = setTimeout(look, timeoutMs - quietMs);
    else
      timeout.abort(
        upstreamProblem(
          "upstream-timeout",
          `Nothing came from the upstream, or was taken by its reader, for ${timeoutMs} ms.`,
        ),
      );
  };
  let timer = setTimeout(look, timeoutMs);
  return {
    signal: AbortSignal.any([timeout.signal, ...signals]),
    touch: () => {
      lastMs = Date.now();
    },
    stop: () => clearTimeout(timer),
  };
}

/** How long the closing of a connection may take to reach the upstream, if it is near. */
export const CLOSING_MS = 2;

/**
 * The same bytes, at most `mostBytes`. `onEnd` is told, maybe twice, when they have all gone by; and a moment after they
 * were broken off, so that the upstream sees this call end before another begins in its place.
 */
export function watchBody(
  body: ReadableStream<Uint8Array>,
  watch: Watch,
  mostBytes: number,
  onEnd: (error?: unknown) => void,
): ReadableStream<Uint8Array> {
  let size = 0;
  const breakOff = (error: unknown) => {
    setTimeout(() => onEnd(error ?? new Error("Nobody reads on.")), CLOSING_MS);
  };
  const passing = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      watch.touch();
      size += chunk.length;
      if (size <= mostBytes) return controller.enqueue(chunk);
      const error = tooLarge(mostBytes);
      breakOff(error);
      throw error;
    },
    flush: () => onEnd(),
    cancel: breakOff,
  });
  watch.signal.addEventListener("abort", () => breakOff(watch.signal.reason), { once: true });
  // Without the signal, with which workerd leaves a rejection unhandled: the call that it aborts breaks the body off.
  return body.pipeThrough(passing);
}

export const tooLarge = (mostBytes: number) =>
  upstreamProblem("response-too-large", `The upstream's answer is longer than ${mostBytes} bytes.`);

/** What is read into memory: an answer that may be given up for another, or that is small. In bytes. */
export const MOST_READ_AHEAD = 64 * 1024;

/** The answer with its body in memory; or, where that is too long, beginning with what has been read of it. */
export async function readAhead(
  response: Response,
  watch: Watch,
): Promise<{ response: Response; isWhole: boolean }> {
  if (!response.body) return { response, isWhole: true };
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  for (let size = 0; size <= MOST_READ_AHEAD; ) {
    const next = await reader.read().catch((error: unknown) => {
      watch.signal.throwIfAborted();
      throw upstreamProblem("upstream-unreachable", "The upstream's answer broke off.", error);
    });
    if (next.done)
      return { response: new Response(Buffer.concat(chunks), withoutLength(response)), isWhole: true };
    watch.touch();
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
  return { response: new Response(rest, withoutLength(response)), isWhole: false };
}

/** The head for a body that was decoded when it was read, and whose length the runtime knows itself. */
function withoutLength({ status, statusText, headers }: Response): ResponseInit {
  const kept = new Headers(headers);
  kept.delete("content-length");
  kept.delete("content-encoding");
  return { status, statusText, headers: kept };
}

/** The same request; while its body goes up, that is something happening. */
export function watchUpload<T extends { body: unknown }>(ask: T, watch: Watch): T {
  if (!(ask.body instanceof ReadableStream)) return ask;
  const passing = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      watch.touch();
      controller.enqueue(chunk);
    },
  });
  return { ...ask, body: ask.body.pipeThrough(passing) };
}
