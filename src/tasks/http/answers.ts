/** What the routes of the tasks have in common. */
import { z } from "@hono/zod-openapi";
import { bodyLimit } from "hono/body-limit";
import { Problem } from "../../kernel/problem.ts";

export const FRESH = { "Cache-Control": "no-store" };
export const params = z.object({ id: z.string() });

export const UNAVAILABLE = { 503: "The objects that keep the tasks do not answer now. With Retry-After." };
export const ABOUT_ONE = { 404: "There is none with this id.", ...UNAVAILABLE };
/** Of a route that takes JSON. */
export const NOT_JSON = {
  400: "The body is not JSON.",
  413: "The body is too long.",
  415: "The body is not JSON.",
};

/** Of a request, which is read whole. */
const MOST_BYTES = 8 * 1024 * 1024;

/** For the `middleware` of a route that takes JSON. */
export const limitBody = bodyLimit({
  maxSize: MOST_BYTES,
  onError: () => {
    throw new Problem("too-large", `The body of this request has at most ${MOST_BYTES} bytes.`);
  },
});

/** What the ledger has found; a `Problem` 404 if it has not. */
export function known<T>(found: T | null | undefined, id: string): T {
  if (found !== null && found !== undefined) return found;
  throw new Problem("not-found", `There is no task ${id}.`);
}
