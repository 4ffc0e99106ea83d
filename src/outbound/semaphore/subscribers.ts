/**
 * Those who watch an upstream, as server-sent events (WHATWG HTML §9.2).
 *
 * Each event is the whole status, so that none depends on another: when much happens at once one event tells all of
 * it, a reader that is slow misses what is out of date anyway, and one that comes back needs nothing repeated.
 */
const LEAST_GAP_MS = 200;
/** Time alone changes some of it: a pause ends, a lease does. */
const MOST_GAP_MS = 5_000;

interface Subscriber {
  writer: WritableStreamDefaultWriter<Uint8Array>;
  /** It has not read the last event yet. */
  isBusy: boolean;
  /** It has missed a later one meanwhile. */
  isBehind: boolean;
}

export class Subscribers {
  readonly #describe: () => unknown;
  readonly #all = new Set<Subscriber>();
  readonly #encoder = new TextEncoder();
  #revision = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;

  constructor(describe: () => unknown) {
    this.#describe = describe;
  }

  /** A stream of events, beginning with the status now. */
  subscribe(): ReadableStream<Uint8Array> {
    const { readable, writable } = new IdentityTransformStream();
    const subscriber: Subscriber = { writer: writable.getWriter(), isBusy: false, isBehind: false };
    this.#all.add(subscriber);
    this.#heartbeat ??= setInterval(() => this.changed(), MOST_GAP_MS);
    this.#send(subscriber, this.#event());
    return readable;
  }

  /** Something has changed: an event follows soon, one for all that changes until then. */
  changed(): void {
    if (this.#all.size === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sendToAll(this.#event());
    }, LEAST_GAP_MS);
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
    subscriber.writer.write(this.#encoder.encode(text)).then(
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
