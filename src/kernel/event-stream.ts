/**
 * Responses that are streams of server-sent events (WHATWG HTML §9.2), and where a reader continues.
 *
 * A browser's `EventSource` sends `Last-Event-ID` when it reconnects, but nothing when it begins: a page that was loaded anew
 * names the event in the query. The header counts, if there are both: it is what the reader has got since.
 */
import { z } from "zod";
import { emptyIsAbsent } from "./query.ts";

/** Not a literal type: with one, a handler could not return a stream. */
export const EVENT_STREAM: string = "text/event-stream";

/**
 * So that nothing holds events back: a proxy such as nginx until its buffer is full, or one that compresses until it has the
 * first block.
 */
export const EVENT_HEADERS = {
  "Content-Type": EVENT_STREAM,
  "Cache-Control": "no-store",
  "Content-Encoding": "identity",
  "X-Accel-Buffering": "no",
};

const number = z.string().regex(/^\d+$/, "must be the id of an earlier event: a number");
const DESCRIPTION =
  "Continue after this event. Without it, or if it is empty or not an event of this stream, the stream starts with the first.";

export const lastEventHeaders = z.object({
  "last-event-id": emptyIsAbsent(number.meta({ description: DESCRIPTION })),
});
export const lastEventQuery = z.object({
  lastEventId: emptyIsAbsent(
    number.meta({
      description: "As the header Last-Event-ID, for an EventSource that is new. The header counts.",
    }),
  ),
});

/** The number of the event after which the reader continues; 0: from the first. */
export const lastEventOf = (
  headers: z.output<typeof lastEventHeaders>,
  query: z.output<typeof lastEventQuery>,
): number => Number(headers["last-event-id"] ?? query.lastEventId ?? 0);
