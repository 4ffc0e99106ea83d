/**
 * Sends what happens in a Durable Object to all that watch it, as server-sent events (WHATWG HTML §9.2).
 *
 * Changes that come close together share an event. A reader that is new, or too slow and so has missed an event, gets
 * one that needs none before it. So nothing is kept for anybody.
 *
 * Streams keep the object awake. So they end when nothing has happened for a while.
 */
import { MAX_IDLE_MS, MAX_IDLE_RECONNECTED_MS, type OpenStream, OpenStreams } from "./open-streams.ts";

const MIN_INTERVAL_MS = 200;
/** An event comes this often even if nothing happens: some things change with time alone, and it shows a stream is alive. */
const MAX_INTERVAL_MS = 5_000;

export interface News {
  event: string;
  data: unknown;
}

/** What there is to send. */
export interface Source {
  /** For a reader that knows nothing. */
  whole(): News;
  /** For one that has read all before: what has happened since this was asked last. */
  changes(): News;
}

interface Subscriber {
  stream: OpenStream;
  sinceMs: number;
  /** It has not read the last event yet. */
  isBusy: boolean;
  /** It has missed a later event meanwhile. */
  isBehind: boolean;
}

export class Broadcast {
  readonly #source: Source;
  readonly #all = new Set<Subscriber>();
  readonly #streams = new OpenStreams();
  #revision = 0;
  /** The last change that was not due to time alone. */
  #changedAtMs = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  get hasReaders(): boolean {
    return this.#all.size > 0;
  }

  /** A stream of events that begins with the whole; "too-many" if the caller has its share of them. */
  subscribe(caller: string): ReadableStream<Uint8Array> | "too-many" {
    const stream = this.#streams.open(caller);
    if (stream === "too-many") return stream;
    const subscriber: Subscriber = { stream, sinceMs: Date.now(), isBusy: false, isBehind: false };
    this.#all.add(subscriber);
    this.#heartbeat ??= setInterval(() => this.#onHeartbeat(), MAX_INTERVAL_MS);
    this.#send(subscriber, this.#render(this.#source.whole()));
    return stream.readable;
  }

  /** Something has happened: an event follows soon, one for all that happens until then. */
  notify(): void {
    this.#changedAtMs = Date.now();
    this.#sendSoon();
  }

  #onHeartbeat(): void {
    const nowMs = Date.now();
    for (const subscriber of this.#all) {
      if (nowMs - this.#changedAtMs < MAX_IDLE_MS || nowMs - subscriber.sinceMs < MAX_IDLE_RECONNECTED_MS)
        continue;
      this.#remove(subscriber);
      // A write fails when the reader has gone.
      subscriber.stream.closeIdle().catch(() => undefined);
    }
    this.#sendSoon();
  }

  #sendSoon(): void {
    if (this.#all.size === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sendToAll(this.#render(this.#source.changes()));
    }, MIN_INTERVAL_MS);
  }

  #render({ event, data }: News): string {
    return `id: ${++this.#revision}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  #sendToAll(text: string): void {
    for (const subscriber of this.#all) {
      if (subscriber.isBusy) subscriber.isBehind = true;
      else this.#send(subscriber, text);
    }
  }

  #send(subscriber: Subscriber, text: string): void {
    subscriber.isBusy = true;
    subscriber.stream.write(text).then(
      () => this.#onRead(subscriber),
      () => this.#remove(subscriber),
    );
  }

  #onRead(subscriber: Subscriber): void {
    subscriber.isBusy = false;
    if (!subscriber.isBehind) return;
    subscriber.isBehind = false;
    this.#send(subscriber, this.#render(this.#source.whole()));
  }

  #remove(subscriber: Subscriber): void {
    this.#all.delete(subscriber);
    if (this.#all.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }
}
