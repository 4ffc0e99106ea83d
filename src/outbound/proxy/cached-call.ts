/**
 * What passes between a call and the entrypoint whose responses Workers Cache keeps, and how it is written.
 *
 * The key of a response is the path of the request, a hash of everything that it depends on. What else the entrypoint
 * needs to make the call is in a header, and that is no part of the key. Responses are wrapped, as they are in the
 * Cache API: the head is JSON in a header, and the body is bytes.
 */
import { z } from "zod";
import { isProblemKind, Problem } from "../../kernel/problem.ts";
import { PRIORITIES } from "../semaphore/wait-queue.ts";
import { headSchema } from "./store.ts";

const CALL = "sluice-call";
const RESULT = "sluice-result";

/** A call, as its first caller makes it. */
const callSchema = z.object({
  /** Unlike any other call's. */
  id: z.string(),
  upstream: z.string(),
  /** Includes the query. */
  path: z.string(),
  /** What is in the key: the values of `KEY_HEADERS`. */
  variant: z.array(z.string()),
  /** Take what is stored, and call nobody. */
  isLookup: z.boolean(),
  redirect: z.literal("error").optional(),
  requestId: z.string(),
  name: z.string(),
  priority: z.enum(PRIORITIES),
  /** The trace that the call is part of, if nothing is stored. */
  traceparent: z.string().optional(),
  /** Absent from a call without them, and of an older version. */
  key: z.string().optional(),
  weight: z.int().optional(),
});
export type CachedCall = z.output<typeof callSchema>;

const timingSchema = z.object({ queuedMs: z.number(), upstreamMs: z.number(), tries: z.number() });

const resultSchema = z.union([
  z.object({
    /** Of the call that the response was made for. */
    id: z.string(),
    head: headSchema,
    url: z.string(),
    timing: timingSchema,
    /** Whether the response may be kept. */
    isStorable: z.boolean(),
  }),
  z.object({
    kind: z.string().refine(isProblemKind),
    detail: z.string(),
    headers: z.record(z.string(), z.string()),
  }),
  z.object({ isMissing: z.literal(true) }),
]);
/** A response, what went wrong, or that nothing is stored. */
export type CachedResult = z.output<typeof resultSchema>;

export const toHeaders = (call: CachedCall): Headers => new Headers({ [CALL]: encode(call) });
export const callIn = (headers: Headers): CachedCall => callSchema.parse(decode(headers.get(CALL)));
export const resultIn = (headers: Headers): CachedResult => resultSchema.parse(decode(headers.get(RESULT)));

/** `forS`: for how many seconds it is kept, at most; 0 if it is not. Nothing stale is served, whatever fails. */
export function toResponse(
  result: CachedResult,
  body: Uint8Array | ReadableStream<Uint8Array> | null,
  forS: number,
): Response {
  const cacheControl = forS > 0 ? `public, max-age=${forS}, must-revalidate` : "no-store";
  return new Response(body, { headers: { "cache-control": cacheControl, [RESULT]: encode(result) } });
}

export const problemResult = ({ kind, detail, options }: Problem): CachedResult => ({
  kind,
  detail,
  headers: options.headers ?? {},
});

const encode = (value: object) => encodeURIComponent(JSON.stringify(value));
const decode = (text: string | null): unknown => JSON.parse(decodeURIComponent(text ?? ""));
