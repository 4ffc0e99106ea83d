/**
 * The two headers of a submission: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07) and `Prefer:
 * wait` (RFC 7240 §4.3).
 */
import { ParseError, parseItem } from "structured-headers";
import { splitField } from "../../kernel/headers.ts";
import { Problem } from "../../kernel/problem.ts";
import type { Reservation } from "../ledger/idempotency-keys.ts";
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

/** The ids of the key's tasks, and whether they exist. Throws the `Problem` for a key that is in use (§2.6, §2.7). */
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
