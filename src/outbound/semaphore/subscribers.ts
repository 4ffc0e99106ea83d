/**
 * Sends an upstream's status to those that watch it, as server-sent events (WHATWG HTML §9.2).
 *
 * Each event holds the whole status, so no event depends on another. Changes that come close together share one
 * event, a slow reader skips what is out of date, and a reader that reconnects needs nothing repeated.
 *
 * Streams keep the semaphore awake. So they end when there have been no calls for a while.
 */
import {
  MAX_IDLE_MS,
  MAX_IDLE_RECONNECTED_MS,
  type OpenStream,
  OpenStreams,
} from "../../kernel/open-streams.ts";

const MIN_INTERVAL_MS = 200;
/** The status also changes with time alone: a pause ends, a lease expires. */
const MAX_INTERVAL_MS = 5_000;

interface Subscriber {
  stream: OpenStream;
  sinceMs: number;
  /** It has not read the last event yet. */
  isBusy: boolean;
  /** It has missed a later event meanwhile. */
  isBehind: boolean;
}

export class Subscribers {
  readonly #describe: () => unknown;
  readonly #all = new Set<Subscriber>();
  readonly #streams = new OpenStreams();
  #revision = 0;
  /** The last change that was not due to time alone. */
  #changedAtMs = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;

  /** `describe` returns the status that is sent. */
  constructor(describe: () => unknown) {
    this.#describe = describe;
  }

  /** A stream of events that begins with the current status; "too-many" if the caller has its share of them. */
  subscribe(caller: string): ReadableStream<Uint8Array> | "too-many" {
    const stream = this.#streams.open(caller);
    if (stream === "too-many") return stream;
    const subscriber: Subscriber = { stream, sinceMs: Date.now(), isBusy: false, isBehind: false };
    this.#all.add(subscriber);
    this.#heartbeat ??= setInterval(() => this.#onHeartbeat(), MAX_INTERVAL_MS);
    this.#send(subscriber, this.#event());
    return stream.readable;
  }

  /** The status has changed: an event follows soon, one for all changes until then. */
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
      this.#sendToAll(this.#event());
    }, MIN_INTERVAL_MS);
  }

  #event(): string {
    return `id: ${++this.#revision}\nevent: status\ndata: ${JSON.stringify(this.#describe())}\n\n`;
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
    this.#send(subscriber, this.#event());
  }

  #remove(subscriber: Subscriber): void {
    this.#all.delete(subscriber);
    if (this.#all.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }
}
