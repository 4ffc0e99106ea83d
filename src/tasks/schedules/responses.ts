/** What the routes of schedules have in common. */
import { Problem } from "../../kernel/problem.ts";
import { NO_STORE } from "../http/responses.ts";
import { etagOf, specOf } from "./definition.ts";
import { MAX_SCHEDULES } from "./registry.ts";
import type { CountedRow } from "./schema.ts";

export const headersOf = (row: CountedRow) => ({ ...NO_STORE, ETag: etagOf(specOf(row)) });

export const scheduleNotFound = (id: string) => new Problem("not-found", `There is no schedule ${id}.`);

/** The schedule that an earlier request has created. Throws a `Problem` 409 if it has been deleted since. */
export function noLongerThere(row: CountedRow | undefined, id: string): CountedRow {
  if (row) return row;
  throw new Problem(
    "conflict",
    `The first request with this Idempotency-Key created ${id}, which is deleted.`,
  );
}

/** Why the scheduler has changed nothing. */
export function conflictOf(why: "full" | "declared" | "precondition-failed", id: string): Problem {
  switch (why) {
    case "full":
      return new Problem("conflict", `There are already ${MAX_SCHEDULES} schedules. Delete one first.`);
    case "declared":
      return new Problem(
        "conflict",
        `The schedule ${id} is declared in code. Change it or remove it in src/jobs/schedules.ts.`,
      );
    case "precondition-failed":
      return new Problem(
        "precondition-failed",
        `The schedule ${id} is not as If-Match or If-None-Match says. GET it for its ETag.`,
      );
  }
}
