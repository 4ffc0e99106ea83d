/** What the routes of the tasks have in common. */
import { z } from "@hono/zod-openapi";
import { Problem } from "../../kernel/problem.ts";

export const NO_STORE = { "Cache-Control": "no-store" };
export const params = z.object({ id: z.string() });

/** The problems of a route that calls the objects of the ledger or the scheduler. */
export const LEDGER_PROBLEMS = {
  503: "The objects that keep tasks and schedules do not respond. With Retry-After.",
};
/** The problems of a route whose path has an id. */
export const ITEM_PROBLEMS = { 404: "Nothing has this id.", ...LEDGER_PROBLEMS };
/** The problems of a route that takes JSON. */
export const JSON_PROBLEMS = {
  400: "The body is not valid JSON.",
  413: "The body is too long.",
  415: "The Content-Type is not application/json.",
};

/** What the ledger found. Throws a `Problem` 404 if it found nothing. */
export function orNotFound<T>(found: T | null | undefined, id: string): T {
  if (found !== null && found !== undefined) return found;
  throw new Problem("not-found", `There is no task ${id}.`);
}
