/**
 * Guards: what a submission says about others with the same key and type. `unique`: only one of them at a time. `debounce`: those
 * that come soon after each other become one task.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { isKeptAsText } from "./text.ts";

const DAY_S = 86_400;
/** If a debounce does not say how long it may wait in all: so many times its `wait`. */
const MAX_WAIT_FACTOR = 10;

export const CONFLICT_POLICIES = ["keep", "replace", "reject"] as const;

const key = z
  .string()
  .min(1)
  .max(256)
  .refine(isKeptAsText, { message: "has half of a character that takes two, or a NUL" })
  .meta({ description: "1 to 256 characters. Keys of different types are independent." });

const uniqueSchema = z
  .strictObject({
    key,
    within: z
      .number()
      .min(0)
      .max(30 * DAY_S)
      .optional()
      .meta({
        description:
          "The key is also held for this many seconds after the submission of the first, once that has ended; not if it was " +
          "cancelled. What the later submission says counts. Default: 0.",
      }),
    on_conflict: z
      .enum(CONFLICT_POLICIES)
      .optional()
      .meta({
        description:
          "While the key is held: the first is kept, and no task is created (`keep`); the first is cancelled if it has not " +
          "begun, else 409 (`replace`); 409 (`reject`). Default: keep.",
      }),
  })
  .meta({ id: "Unique", description: "A task with this key holds it until it has ended." });

const debounceSchema = z
  .strictObject({
    key,
    wait: z.number().min(0.1).max(DAY_S).meta({ description: "In seconds." }),
    max_wait: z
      .number()
      .min(0.1)
      .max(7 * DAY_S)
      .optional()
      .meta({ description: `In seconds. Default: ${MAX_WAIT_FACTOR} times \`wait\`.` }),
  })
  .refine(({ wait, max_wait = wait }) => max_wait >= wait, {
    message: "is less than wait",
    path: ["max_wait"],
  })
  .meta({
    id: "Debounce",
    description:
      "Submissions with this key that come within `wait` of the one before become one task: it is the last of them, and " +
      "starts `wait` after that, but no later than `max_wait` after the first.",
  });

/** The members that a description of a task may have. */
export const guardMembers = { unique: uniqueSchema.optional(), debounce: debounceSchema.optional() };
const guardSchema = z.object(guardMembers);

/** What a description of a task may have, but at most one of them. */
export interface GuardMembers {
  unique?: z.output<typeof uniqueSchema> | undefined;
  debounce?: z.output<typeof debounceSchema> | undefined;
}

/** As the ledger takes it. `key` has the kind and the type in it. */
export type Guard = { key: string } & (
  | { is: "unique"; withinMs: number; onConflict: (typeof CONFLICT_POLICIES)[number] }
  | { is: "debounce"; waitMs: number; maxWaitMs: number }
);

export function toGuard(type: string, { unique, debounce }: GuardMembers): Guard | undefined {
  if (unique) {
    const { within = 0, on_conflict: onConflict = "keep" } = unique;
    return { is: "unique", key: keyOf("unique", type, unique.key), withinMs: within * 1_000, onConflict };
  }
  if (!debounce) return undefined;
  const { wait, max_wait = wait * MAX_WAIT_FACTOR } = debounce;
  const times = { waitMs: Math.ceil(wait * 1_000), maxWaitMs: Math.ceil(max_wait * 1_000) };
  return { is: "debounce", key: keyOf("debounce", type, debounce.key), ...times };
}

/** As a schedule keeps them: JSON text. None are no member. */
export const keptGuard = ({ unique, debounce }: GuardMembers): { guard?: string } =>
  unique || debounce ? { guard: JSON.stringify({ unique, debounce }) } : {};

export const guardMembersIn = (text: string): GuardMembers => guardSchema.parse(JSON.parse(text));

/** What is wrong with the members together, if anything is: the member, and why. */
export function guardError(members: GuardMembers & { delay?: unknown; run_at?: unknown }) {
  const { unique, debounce, delay, run_at } = members;
  if (!debounce) return undefined;
  if (unique) return { at: "debounce", detail: "excludes unique: give only one of the two" };
  if (delay === undefined && run_at === undefined) return undefined;
  return { at: "debounce", detail: "says when the task starts, and so excludes delay and run_at" };
}

/** The guard of what code submits. Throws a `TypeError` that says what is wrong with it. */
export function checkGuard(
  type: string,
  members: GuardMembers & { delay?: number | undefined },
  at: string,
): Guard | undefined {
  const { unique, debounce, delay } = members;
  const wrong = guardError({ unique, debounce, delay });
  if (wrong) throw new TypeError(`${at}/${wrong.at}: ${wrong.detail}`);
  const parsed = guardSchema.safeParse({ unique, debounce });
  if (!parsed.success) throw new TypeError(`${at} is not valid: ${parsed.error.message}`);
  return toGuard(type, parsed.data);
}

/** Of a bounded length, since an index has it. */
const keyOf = (kind: Guard["is"], type: string, given: string): string =>
  `${kind} ${type} ${createHash("sha256").update(given).digest("base64url")}`;
