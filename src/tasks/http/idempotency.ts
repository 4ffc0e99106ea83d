/**
 * The two headers of a submission: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07) and `Prefer:
 * wait` (RFC 7240 §4.3).
 */
import type { Context } from "hono";
import { ParseError, parseItem } from "structured-headers";
import type { AppEnv } from "../../kernel/app-env.ts";
import { splitField } from "../../kernel/headers.ts";
import { Problem } from "../../kernel/problem.ts";
import type { Reservation } from "../ledger/idempotency-keys.ts";
import { callLedger, ledgerOn } from "../ledger/shards.ts";
import { shardOfName } from "../ledger/task-id.ts";
import { MAX_WAIT_S } from "../run/submit.ts";

const MAX_KEY_LENGTH = 255;

/** RFC 7240 §2: the value may be a quoted string. */
const WAIT = /^wait\s*=\s*(?:(\d+)|"(\d+)")$/i;

/** The key in the header, if any. Throws a `Problem` 400 if it is not a string of a structured field (§2.1). */
export function parseKey(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const key = parseString(header);
  if (key !== undefined && key !== "" && key.length <= MAX_KEY_LENGTH) return key;
  throw new Problem(
    "malformed",
    `An Idempotency-Key must be a string in double quotes, of 1 to ${MAX_KEY_LENGTH} characters: "8e03978e-40d5-43dd-bc93-6894a57f9324".`,
  );
}

/** The seconds of `Prefer: wait=N`, at most a minute; undefined if the header has no such preference. */
export function parseWait(header: string | undefined): number | undefined {
  for (const preference of splitField(header ?? "", ",")) {
    // Whatever follows a semicolon is a parameter of the preference.
    const [named = ""] = splitField(preference, ";");
    const [, plain, quoted] = WAIT.exec(named) ?? [];
    const seconds = plain ?? quoted;
    if (seconds !== undefined) return Math.min(Number(seconds), MAX_WAIT_S);
  }
  return undefined;
}

interface KeyedRequest<T> {
  /** Undefined: the request has none. */
  key: string | undefined;
  /** Tells one payload from another. */
  fingerprint: string;
  /** The ids of what the request is to create, if it is the first with this key. */
  ids: string[];
  /**
   * Creates what has these ids; some of it may exist already. If that is not complete, the next request goes on. `ids`: what the
   * key stands for from now on, if that is something else.
   */
  write: (ids: string[]) => Promise<{ value: T; isComplete: boolean; ids?: string[] }>;
  /** What an earlier request has created. */
  written: (ids: string[]) => Promise<T>;
}

/** Creates something; with an Idempotency-Key, only if an earlier request of the same caller has not done so. */
export async function withKey<T>(c: Context<AppEnv>, request: KeyedRequest<T>): Promise<T> {
  const { key, fingerprint, ids, write, written } = request;
  if (key === undefined) return (await write(ids)).value;
  const scopedKey = JSON.stringify([c.get("principal").name, key]);
  const keeper = () => ledgerOn(c.env, shardOfName(scopedKey));
  const reservation = await callLedger(async () => keeper().reserveKey(scopedKey, fingerprint, ids));
  const { taskIds: keptIds, areCreated } = checkReservation(reservation);
  if (areCreated) return written(keptIds);
  let isComplete = false;
  try {
    const outcome = await write(keptIds);
    isComplete = outcome.isComplete;
    const { ids: writtenIds = keptIds } = outcome;
    // The same request must give those, whatever dies now.
    if (isComplete && writtenIds.some((id, i) => id !== keptIds[i]))
      await callLedger(async () => keeper().settleKeyAs(scopedKey, writtenIds));
    return outcome.value;
  } finally {
    // The response need not wait for this: until then, the key's lease has the same effect.
    c.executionCtx.waitUntil(keeper().settleKey(scopedKey, isComplete));
  }
}

/** For the document. Not a schema: with one, the router would copy and check every header of each request. */
export const keyParameter = (created: string) => ({
  name: "Idempotency-Key",
  in: "header" as const,
  schema: { type: "string" as const },
  description: `A string in double quotes. Within 24 hours, the same request with the same key gives the same ${created}.`,
});

/** The ids of what the request creates, and whether it exists. Throws the `Problem` for a key that is in use (§2.6, §2.7). */
export function checkReservation(reservation: Reservation): { taskIds: string[]; areCreated: boolean } {
  switch (reservation.is) {
    case "used-by-another-request":
      throw new Problem(
        "idempotency-key-reused",
        "An earlier request used this Idempotency-Key with another payload. Use a new key for a new request.",
      );
    case "in-progress":
      throw new Problem("conflict", "The first request with this Idempotency-Key is still in progress.", {
        headers: { "Retry-After": "1" },
      });
    case "created":
      return { taskIds: reservation.taskIds, areCreated: true };
    case "reserved":
      return { taskIds: reservation.taskIds, areCreated: false };
  }
}

function parseString(header: string): string | undefined {
  try {
    const [value] = parseItem(header);
    return typeof value === "string" ? value : undefined;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
