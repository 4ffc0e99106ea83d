/**
 * The streams of server-sent events that a Durable Object has open, and to whom.
 *
 * Each reader costs the object memory, and work at each event. So a caller may have only so many at once, and a reader
 * that has gone, or no longer reads, does not count for long: a write that it does not take within a minute ends its
 * stream. An `EventSource` then reconnects.
 *
 * A stream on which nothing happens ends too, since it would keep its object awake for nothing.
 */
import type { Context } from "hono";
import type { AppEnv } from "./app-env.ts";
import { EVENT_HEADERS } from "./event-stream.ts";
import { Problem } from "./problem.ts";
import { tooManyRequests } from "./rate-limit.ts";

/** How many streams of one object a caller may have open. */
const MAX_STREAMS_PER_CALLER = 32;
/** How long a reader may take for one event. */
const MAX_WRITE_MS = 60_000;
/** When to try again: about the time in which a stream without a reader is noticed. */
const RETRY_MS = 15_000;

/** After this long without an event, a stream ends; sooner if its reader has only reconnected and found nothing new. */
export const MAX_IDLE_MS = 5 * 60_000;
export const MAX_IDLE_RECONNECTED_MS = 15_000;
/** How long an `EventSource` waits after such an end before it reconnects. */
const IDLE_RECONNECT_MS = 60_000;

/** One stream: what the object writes, the caller reads. */
export class OpenStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  #onEnd: (() => void) | undefined;

  constructor(onEnd: () => void) {
    const { readable, writable } = new IdentityTransformStream();
    this.readable = readable;
    this.#writer = writable.getWriter();
    this.#onEnd = onEnd;
  }

  /** Resolves when the reader has taken the text. Rejects, and ends the stream, if it has gone or takes too long. */
  async write(text: string): Promise<void> {
    const tooSlow = Promise.withResolvers<never>();
    const timer = setTimeout(() => tooSlow.reject(new Error("the reader takes nothing")), MAX_WRITE_MS);
    try {
      await Promise.race([this.#writer.write(this.#encoder.encode(text)), tooSlow.promise]);
    } catch (error) {
      await this.abort(error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the stream normally. */
  async close(): Promise<void> {
    this.#end();
    await this.#writer.close();
  }

  /** Ends the stream because nothing happens. An `EventSource` comes back later than usual. */
  async closeIdle(): Promise<void> {
    await this.write(`retry: ${IDLE_RECONNECT_MS}\n\n`);
    await this.close();
  }

  /** Breaks the stream off: its reader gets an error. Harmless if it has ended. */
  async abort(reason: unknown): Promise<void> {
    this.#end();
    await this.#writer.abort(reason).catch(() => undefined);
  }

  #end(): void {
    this.#onEnd?.();
    this.#onEnd = undefined;
  }
}

export class OpenStreams {
  readonly #counts = new Map<string, number>();

  /** A stream for this caller, by the name of its token; "too-many" if it has its share. */
  open(caller: string): OpenStream | "too-many" {
    const count = this.#counts.get(caller) ?? 0;
    if (count >= MAX_STREAMS_PER_CALLER) return "too-many";
    this.#counts.set(caller, count + 1);
    return new OpenStream(() => this.#onEnd(caller));
  }

  #onEnd(caller: string): void {
    const count = this.#counts.get(caller) ?? 0;
    if (count > 1) this.#counts.set(caller, count - 1);
    else this.#counts.delete(caller);
  }
}

/** A response with the events of objects. HEAD asks for its headers, and opens nothing that nobody would read. */
export async function respondWithEvents(
  c: Context<AppEnv>,
  open: () => Promise<ReadableStream<Uint8Array> | "too-many">,
) {
  if (c.req.method === "HEAD") return c.body(null, 200, EVENT_HEADERS);
  const stream = await open();
  if (stream === "too-many") throw tooManyStreams();
  return c.body(stream, 200, EVENT_HEADERS);
}

/** The `Problem` 429 for a caller that has its share of streams. */
export function tooManyStreams(): Problem {
  const detail =
    `Your token already has ${MAX_STREAMS_PER_CALLER} event streams open here. Close some, or read one stream for ` +
    "all that want to know.";
  return tooManyRequests({ policy: "event-streams", quota: MAX_STREAMS_PER_CALLER }, detail, RETRY_MS);
}
