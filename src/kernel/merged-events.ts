/**
 * Many streams of server-sent events as one, for a page that shows many objects: a browser opens only six connections.
 *
 * Each object's stream comes from a `Broadcast`: what it sends first tells a new reader all, so none of its events is
 * numbered here, and a reader that reconnects begins anew. An object on which nothing happens ends its stream, to sleep; it
 * is asked again after a while. This stream ends when all of theirs have, when one breaks, and after some minutes, since an
 * invocation may only make so many calls: an `EventSource` comes back.
 */

/** How long an object may sleep whose stream has ended. */
const SLEEP_MS = 60_000;
/** How long a stream goes on that lacks an object. */
const LACKING_MS = 15_000;
const MAX_AGE_MS = 10 * 60_000;
const RECONNECT_MS = 1_000;

type Events = ReadableStream<Uint8Array>;

/** An object to watch. */
export interface Watched {
  /** What it is called where it does not respond, e.g. `tasks s1`. */
  name: string;
  /** What its events `status` are called here. */
  status?: string;
  /** What of an event's data is passed on; undefined: nothing of it. Default: all. */
  keep?: (event: string, data: string) => string | undefined;
  open(): Promise<Events | "too-many">;
}

/**
 * All of them in one stream, which begins with the event `begin`: `{"lacking": ["tasks s1"]}` names those that do not respond.
 * "too-many" if the caller has its share of streams of one of them.
 */
export async function mergeEvents(watched: readonly Watched[]): Promise<Events | "too-many"> {
  const results = await Promise.allSettled(watched.map(async (one) => one.open()));
  const opened = results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
  if (opened.includes("too-many")) {
    await Promise.allSettled(
      opened.map(async (stream) => stream instanceof ReadableStream && stream.cancel()),
    );
    return "too-many";
  }
  return new MergedEvents(
    watched.map((one, i) => ({
      ...one,
      stream: opened[i] instanceof ReadableStream ? opened[i] : undefined,
    })),
  ).readable;
}

interface Source extends Watched {
  stream: Events | undefined;
}

class MergedEvents {
  readonly readable: Events;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  /** Aborted when this stream has ended. */
  readonly #over = new AbortController();
  /** How many objects have their streams open. */
  #open = 0;

  constructor(sources: readonly Source[]) {
    const { readable, writable } = new IdentityTransformStream();
    this.readable = readable;
    this.#writer = writable.getWriter();
    const lacking = sources.filter(({ stream }) => !stream).map(({ name }) => name);
    this.#writer.closed.catch(() => this.#over.abort());
    this.#run(sources, lacking).catch(async (error: unknown) => {
      this.#over.abort();
      // Harmless if the reader has gone.
      await this.#writer.abort(error).catch(() => undefined);
    });
  }

  async #run(sources: readonly Source[], lacking: string[]): Promise<void> {
    await this.#write(`retry: ${RECONNECT_MS}\n\nevent: begin\ndata: ${JSON.stringify({ lacking })}\n\n`);
    const timer = setTimeout(() => this.#over.abort(), lacking.length > 0 ? LACKING_MS : MAX_AGE_MS);
    const following = sources.filter(({ stream }) => stream);
    this.#open = following.length;
    await Promise.race([
      Promise.all(following.map(async (source) => this.#follow(source))),
      new Promise((resolve) => this.#over.signal.addEventListener("abort", resolve)),
    ]);
    clearTimeout(timer);
    this.#over.abort();
    await this.#writer.close();
  }

  /** Passes on the events of an object; asks it again while it sleeps and others are awake. */
  async #follow(source: Source): Promise<void> {
    const { signal } = this.#over;
    let { stream } = source;
    while (stream) {
      await this.#pass(source, stream);
      if (signal.aborted) return;
      this.#open--;
      if (this.#open === 0) return this.#end();
      await scheduler.wait(SLEEP_MS, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const next = await source.open();
      // Its caller has opened others meanwhile: those that are left go on without it.
      if (next === "too-many") return;
      stream = next;
      this.#open++;
    }
  }

  async #pass({ status, keep }: Source, stream: Events): Promise<void> {
    const reader = stream.getReader();
    const stop = () => void reader.cancel().catch(() => undefined);
    this.#over.signal.addEventListener("abort", stop);
    for await (const text of eventsIn(reader)) {
      const event = /^event: (.*)$/m.exec(text)?.[1];
      const data = /^data: (.*)$/m.exec(text)?.[1];
      if (event === undefined || data === undefined) continue;
      const kept = keep ? keep(event, data) : data;
      if (kept === undefined) continue;
      const name = event === "status" ? (status ?? event) : event;
      await this.#write(`event: ${name}\ndata: ${kept}\n\n`);
    }
    this.#over.signal.removeEventListener("abort", stop);
  }

  /** Nothing happens any more. An `EventSource` comes back later than usual. */
  async #end(): Promise<void> {
    await this.#write(`retry: ${SLEEP_MS}\n\nevent: idle\ndata: {}\n\n`);
    this.#over.abort();
  }

  async #write(text: string): Promise<void> {
    await this.#writer.write(this.#encoder.encode(text));
  }
}

/** The events in a stream of them, each without the empty line that ends it. */
export async function* eventsIn(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + decoder.decode(value, { stream: true })).split("\n\n");
    text = events.pop() ?? "";
    yield* events;
  }
}
