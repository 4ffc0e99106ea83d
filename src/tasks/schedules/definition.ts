/**
 * What a schedule is by its definition: what its owner has set, without what happens to it (its ticks and runs).
 *
 * Its entity tag names the definition. So a change under `If-Match` fails if somebody else has changed the definition, and
 * not because a tick has run.
 */
import { createHash } from "node:crypto";
import { listsTag } from "../../kernel/entity-tags.ts";
import type { ScheduleSpec } from "./registry.ts";
import { isPaused, type ScheduleRow } from "./schema.ts";

/** The headers of RFC 9110 §13.1, as they were sent. */
export interface Preconditions {
  ifMatch?: string | undefined;
  ifNoneMatch?: string | undefined;
}

export const specOf = (row: ScheduleRow): ScheduleSpec => ({
  id: row.id,
  cron: row.cron,
  timeZone: row.time_zone,
  type: row.type,
  input: row.input,
  then: row.then_tasks ?? null,
  ...(row.tags ? { tags: row.tags } : {}),
  ...(row.guard ? { guard: row.guard } : {}),
  overlap: row.overlap,
  missed: row.missed,
  paused: isPaused(row),
});

/** The members of a definition, always in the same order. */
const definition = (spec: ScheduleSpec): string =>
  JSON.stringify([
    spec.cron,
    spec.timeZone,
    spec.type,
    spec.input,
    spec.then ?? null,
    spec.overlap,
    spec.missed,
    spec.paused ?? false,
    // Only if there are any: then the others keep their entity tags.
    ...(spec.tags || spec.guard ? [spec.tags ?? null, spec.guard ?? null] : []),
  ]);

/** The strong entity tag of a definition. */
export const etagOf = (spec: ScheduleSpec): string =>
  `"${createHash("sha256").update(definition(spec)).digest("base64url").slice(0, 22)}"`;

/**
 * Why a stored schedule, if any, may not become `spec`. If it is that already, `If-Match` holds whatever it names: the change
 * has been made, perhaps by the same request before (RFC 9110 §13.1.1).
 */
export function refusalOf(
  row: ScheduleRow | undefined,
  spec: ScheduleSpec,
  { ifMatch, ifNoneMatch }: Preconditions,
): "declared" | "precondition-failed" | undefined {
  if (row?.is_declared === 1) return "declared";
  const stored = row && specOf(row);
  const etag = stored && etagOf(stored);
  if (ifMatch !== undefined) {
    if (stored === undefined || etag === undefined) return "precondition-failed";
    if (!listsTag(ifMatch, etag, "strong") && definition(stored) !== definition(spec))
      return "precondition-failed";
  }
  if (ifNoneMatch !== undefined && etag !== undefined && listsTag(ifNoneMatch, etag, "weak"))
    return "precondition-failed";
  return undefined;
}

/** What must change so that the stored declared schedules match the code. */
export function compareDeclared(rows: ScheduleRow[], specs: readonly ScheduleSpec[]) {
  const declared = new Map(rows.filter((row) => row.is_declared === 1).map((row) => [row.id, row]));
  const changed = specs.filter((spec) => {
    const row = declared.get(spec.id);
    declared.delete(spec.id);
    return !row || definition(specOf(row)) !== definition(spec);
  });
  return { changed, gone: [...declared.keys()] };
}
