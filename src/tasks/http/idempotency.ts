/**
 * `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07) and `Prefer: wait` (RFC 7240 §4.3): what the two
 * headers of a submission ask for.
 */
import { ParseError, parseItem } from "structured-headers";
import { Problem } from "../../kernel/problem.ts";
import type { Reservation } from "../ledger/idempotency-keys.ts";
import { LONGEST_WAIT_S } from "../run/submit.ts";

const LONGEST_KEY = 255;

/** A quoted string (RFC 9110 §5.6.4), with the equals sign before it if there is one. */
const QUOTED = /(=\s*|)"((?:\\.|[^"\\])*)"/g;

/** The key in the header, if there is one. Throws a `Problem` 400 if it is not a string of a structured field (§2.1). */
export function parseKey(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const key = readString(header);
  if (key !== undefined && key !== "" && key.length <= LONGEST_KEY) return key;
  throw new Problem(
    "malformed",
    `An Idempotency-Key is a string in double quotes, of 1 to ${LONGEST_KEY} characters: "8e03978e-40d5-43dd-bc93-6894a57f9324".`,
  );
}

/** The seconds of `Prefer: wait=N`, at most a minute; undefined if it is not asked for, or not readable. */
export function parseWait(header: string | undefined): number | undefined {
  // Its value may be a quoted string; whatever else is within quotes is no preference.
  const plain = (header ?? "").replaceAll(QUOTED, (_text, before: string, value: string) =>
    before !== "" && /^\d+$/.test(value) ? `${before}${value} ` : `${before}?`,
  );
  for (const preference of plain.split(",")) {
    // What follows a semicolon is a parameter of the preference.
    const seconds = /^\s*wait\s*=\s*(\d+)\s*(;|$)/i.exec(preference)?.[1];
    if (seconds !== undefined) return Math.min(Number(seconds), LONGEST_WAIT_S);
  }
  return undefined;
}

/** Throws the `Problem` for a key that is in use (§2.6, §2.7); else the ids of the tasks, and whether they are there. */
export function checkReservation(reservation: Reservation): { taskIds: string[]; areMade: boolean } {
  switch (reservation.is) {
    case "of-another-request":
      throw new Problem(
        "idempotency-key-reused",
        "This Idempotency-Key came with another payload before. A new request needs a new key.",
      );
    case "being-made":
      throw new Problem("conflict", "The first request with this Idempotency-Key is still being worked on.", {
        headers: { "Retry-After": "1" },
      });
    case "made":
      return { taskIds: reservation.taskIds, areMade: true };
    case "yours":
      return { taskIds: reservation.taskIds, areMade: false };
  }
}

function readString(header: string): string | undefined {
  try {
    const [value] = parseItem(header);
    return typeof value === "string" ? value : undefined;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}
