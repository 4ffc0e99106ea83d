/**
 * The part of an input that describes a call to an upstream, checked when the task is submitted, by the rules that hold
 * when the call is made, and again at each run, since the configuration may have changed.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { type DescribedRequest, METHODS, readUpstreams, requestErrors } from "../../outbound/index.ts";
import { upstreamName } from "../support/schemas.ts";

/** The members that every call has. */
export const callShape = {
  upstream: upstreamName,
  path: z.string().meta({ description: "With its query, as it is sent: `/orders?limit=1`.", example: "/" }),
  headers: z
    .record(z.string(), z.string())
    .default({})
    .meta({ description: "Those that `/fetch` would pass on to the upstream." }),
  expect: z
    .array(
      z.union([z.int().min(200).max(599), z.templateLiteral([z.enum(["2", "3", "4", "5"]), "xx"])], {
        error: 'a status from 200 to 599, or a class of them such as "2xx"',
      }),
    )
    .min(1)
    .default(["2xx"])
    .meta({ description: "The statuses that count as success." }),
  retries: z
    .int()
    .min(0)
    .max(10)
    .default(5)
    .meta({ description: "How many attempts may follow one that has failed." }),
};

/** The limits of a type that calls. */
export const CALL_LIMITS = {
  /** After 2, 6, 18, 54 and 162 s, and so on, at most an hour. The input says how many of them there are. */
  retry: { retries: 10, minDelayMs: 2_000, maxDelayMs: 3_600_000, factor: 3 },
  timeoutMs: 30 * 60_000,
  // A call that is cut off would be repeated, and in the fast lane it is cut off after 25 s.
  lane: "long",
} as const;

export const methodSchema = z.enum(METHODS);

/** Adds what is wrong with a call to the errors of its input. */
export function checkCall(call: DescribedRequest & { upstream: string }, refinement: z.RefinementCtx): void {
  const upstream = readUpstreams(env).get(call.upstream);
  if (!upstream) return; // its own schema says so
  for (const { at, detail } of requestErrors(upstream, call))
    refinement.addIssue({ code: "custom", path: at, message: detail });
  for (const [name, value] of Object.entries(call.headers))
    if (name.toLowerCase() === "idempotency-key" && value.trim() === "")
      refinement.addIssue({
        code: "custom",
        path: ["headers", name],
        message: "is empty: leave it out, and the task's id is sent, or give it a key",
      });
}

/** Whether a response with this status is what the caller expects. */
export function isExpected(status: number, expected: readonly (number | string)[]): boolean {
  const itsClass = `${Math.floor(status / 100)}xx`;
  return expected.some((one) => one === status || one === itsClass);
}
