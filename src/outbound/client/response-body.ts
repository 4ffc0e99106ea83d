/**
 * A response's body on its way from an upstream to its reader. Its end is noticed in whatever way it comes: the permit
 * is released then.
 */
import { type ChunkReader, readChunks, streamOfLength } from "./chunks.ts";
import { asCoded } from "./coding.ts";
import { contentLength } from "./content-length.ts";
import { upstreamProblem } from "./errors.ts";
import { CLIENT_PACE, Pace } from "./pace.ts";
import { requestTimeout, type SilenceTimeout } from "./silence-timeout.ts";

/** How long the end of a connection may take to reach the upstream, if it is near. */
export const CLOSING_MS = 2;

/** The most that is read into memory: of a small response, or of one that a retry may replace. */
export const MAX_READ_AHEAD_BYTES = 64 * 1024;

interface TrackOptions {
  timeout: SilenceTimeout;
  /** A longer body breaks off. */
  maxBytes: number;
  /**
   * Called once, when the last byte has gone by, or with what broke the body off. In the latter case a moment later,
   * so that the upstream sees this call end before another begins in its place.
   */
  onEnd: (error?: unknown) => void;
}

/** The same response. Its body is observed, and breaks off where it must. It keeps its length, if it has one. */
export function trackResponseBody(response: Response, options: TrackOptions): Response {
  const { body, headers } = response;
  if (!body) {
    options.onEnd();
    return response;
  }
  const source = new TrackedSource(readChunks(body), options);
  const tracked = streamOfLength(contentLength(headers), {
    start: (controller) => source.start(controller),
    pull: async (controller) => source.pull(controller),
    cancel: (reason) => source.end(reason ?? new Error("The reader stopped.")),
  });
  return asCoded(tracked, response);
}

class TrackedSource {
  readonly #reader: ChunkReader;
  readonly #options: TrackOptions;
  readonly #pace = new Pace(CLIENT_PACE);
  #size = 0;
  /** The chunk that was passed on last, and when. */
  #passed = { bytes: 0, atMs: Date.now() };
  #hasEnded = false;

  constructor(reader: ChunkReader, options: TrackOptions) {
    this.#reader = reader;
    this.#options = options;
  }

  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    const { timeout } = this.#options;
    timeout.waitFor("response", "client");
    const onAbort = () => {
      if (!this.#hasEnded) controller.error(timeout.signal.reason);
      this.end(timeout.signal.reason);
    };
    timeout.signal.addEventListener("abort", onAbort, { once: true });
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      const chunk = await this.#next();
      if (this.#hasEnded) return;
      if (chunk) return controller.enqueue(chunk);
      this.end();
      controller.close();
    } catch (error) {
      this.end(error);
      throw error;
    }
  }

  end(error?: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const { timeout, onEnd } = this.#options;
    timeout.waitFor("response");
    if (error === undefined) return onEnd();
    this.#reader.cancel(error);
    setTimeout(() => onEnd(error), CLOSING_MS);
  }

  async #next(): Promise<Uint8Array | undefined> {
    const { timeout, maxBytes } = this.#options;
    if (!this.#pace.isKept(this.#passed.bytes, Date.now() - this.#passed.atMs))
      throw requestTimeout(
        `A response must be read at ${CLIENT_PACE.minBytesPerSecond} bytes a second at least.`,
      );
    timeout.waitFor("response", "upstream");
    const chunk = await readFrom(this.#reader, timeout);
    timeout.waitFor("response", "client");
    this.#passed = { bytes: chunk?.length ?? 0, atMs: Date.now() };
    this.#size += this.#passed.bytes;
    if (this.#size > maxBytes) throw tooLarge(maxBytes);
    return chunk;
  }
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
  const reader = readChunks(response.body);
  const chunks: Uint8Array[] = [];
  for (let size = 0; size <= MAX_READ_AHEAD_BYTES; ) {
    const chunk = await readFrom(reader, timeout);
    if (!chunk) return { response: asCoded(Buffer.concat(chunks), response), isWhole: true };
    timeout.waitFor("response", "upstream");
    chunks.push(chunk);
    size += chunk.length;
  }
  const rest = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = chunks.shift() ?? (await reader.read());
      if (chunk) controller.enqueue(chunk);
      else controller.close();
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { response: asCoded(rest, response), isWhole: false };
}

async function readFrom(reader: ChunkReader, timeout: SilenceTimeout): Promise<Uint8Array | undefined> {
  const chunk = await reader.read().catch((error: unknown) => {
    timeout.signal.throwIfAborted();
    throw upstreamProblem("upstream-unreachable", "The upstream's response broke off.", error);
  });
  timeout.signal.throwIfAborted();
  return chunk;
}
