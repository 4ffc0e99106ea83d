/**
 * A task's history as server-sent events (WHATWG HTML §9.2).
 *
 * The id of an event is its number in the history, and the stream reads each event from the ledger's tables. So a
 * reader that reconnects with `Last-Event-ID` continues after that event, even after a restart of the ledger, and a
 * slow reader uses no memory. The stream ends when the task ends. A further request for it gets a 204, which tells an
 * `EventSource` to stop reconnecting.
 *
 * An open stream keeps the ledger awake, which costs about as much as a small server. So a stream also ends when nothing
 * has happened for a while: its `EventSource` reconnects a minute later, and then continues where it was.
 */
import { MAX_IDLE_MS, MAX_IDLE_RECONNECTED_MS, type OpenStream } from "../../kernel/open-streams.ts";
import type { EventRow } from "./schema.ts";

/** After this long without an event, a comment shows that the stream is alive. */
const HEARTBEAT_MS = 15_000;
/** How long a disconnected reader should wait before it reconnects. */
const RECONNECT_MS = 1_000;
const MAX_EVENTS_PER_READ = 100;

export interface History {
  /** The events after number `after`, in order. */
  read(after: number, limit: number): EventRow[];
  /** Whether no event can follow the one with this number. */
  endsWith(number: number): boolean;
  /** Resolves when there may be new events, or after `ms`. */
  changed(ms: number): Promise<void>;
}

/** The stream, which gets the events after number `after`, and those still to come, until the task has ended. */
export function eventStream(history: History, after: number, stream: OpenStream): ReadableStream<Uint8Array> {
  // A write fails when the reader has gone: nobody is left who could be told.
  writeEvents(history, after, stream).catch(async (error: unknown) => stream.abort(error));
  return stream.readable;
}

async function writeEvents(history: History, after: number, stream: OpenStream): Promise<void> {
  await stream.write(`retry: ${RECONNECT_MS}\n\n`);
  // Whoever has all events from the start has read this stream before.
  let idle = { sinceMs: Date.now(), maxMs: MAX_IDLE_RECONNECTED_MS };
  for (let last = after; ; ) {
    const events = history.read(last, MAX_EVENTS_PER_READ);
    last = events.at(-1)?.number ?? last;
    if (events.length > 0) {
      await stream.write(events.map(render).join(""));
      idle = { sinceMs: Date.now(), maxMs: MAX_IDLE_MS };
    } else if (history.endsWith(last)) return stream.close();
    else if (Date.now() - idle.sinceMs >= idle.maxMs) return stream.closeIdle();
    else if (!(await hasChanged(history))) await stream.write(": still here\n\n");
  }
}

/** Whether something happened before a heartbeat was due. */
async function hasChanged(history: History): Promise<boolean> {
  const startedAtMs = Date.now();
  await history.changed(HEARTBEAT_MS);
  return Date.now() - startedAtMs < HEARTBEAT_MS;
}

function render({ number, name, at_ms, data }: EventRow): string {
  const at = JSON.stringify(new Date(at_ms).toISOString());
  return `id: ${number}\nevent: ${name}\ndata: {"at":${at},${data.slice(1)}\n\n`;
}
