/**
 * A task's history as server-sent events (WHATWG HTML §9.2).
 *
 * An event's id is its number in the history, and each is read from the ledger's tables: a reader that comes back with
 * `Last-Event-ID` goes on after it, over a restart as well, and a slow one takes no memory. The stream ends with the
 * task; asked once more, its URL says 204, at which an `EventSource` gives up.
 */
import type { EventRow } from "./schema.ts";

/** How long a stream is silent before a comment shows that it lives. */
const HEARTBEAT_MS = 15_000;
/** How soon a reader that was cut off should come back. */
const RECONNECT_MS = 1_000;
const MOST_AT_ONCE = 100;

export interface History {
  /** The events after a number, in their order. */
  read(after: number, limit: number): EventRow[];
  /** Whether nothing can follow the event with this number. */
  endsWith(number: number): boolean;
  /** Resolves when there may be more, or `ms` later. */
  changed(ms: number): Promise<void>;
}

/** The events after number `after`, and those to come, until the task has ended. */
export function eventStream(history: History, after: number): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  // A reader that has gone away makes a write fail: there is nobody left to tell.
  write(history, after, writer).catch(async () => writer.abort().catch(() => undefined));
  return readable;
}

async function write(
  history: History,
  after: number,
  writer: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  const encoder = new TextEncoder();
  await writer.write(encoder.encode(`retry: ${RECONNECT_MS}\n\n`));
  for (let last = after; ; ) {
    const events = history.read(last, MOST_AT_ONCE);
    last = events.at(-1)?.number ?? last;
    if (events.length > 0) await writer.write(encoder.encode(events.map(render).join("")));
    else if (history.endsWith(last)) return writer.close();
    else if (!(await isChanged(history))) await writer.write(encoder.encode(": still here\n\n"));
  }
}

/** Whether anything happened before it is time for a heartbeat. */
async function isChanged(history: History): Promise<boolean> {
  const beganAtMs = Date.now();
  await history.changed(HEARTBEAT_MS);
  return Date.now() - beganAtMs < HEARTBEAT_MS;
}

function render({ number, name, at_ms, data }: EventRow): string {
  const at = JSON.stringify(new Date(at_ms).toISOString());
  return `id: ${number}\nevent: ${name}\ndata: {"at":${at},${data.slice(1)}\n\n`;
}
