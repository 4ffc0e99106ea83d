/**
 * Links: URLs that let anyone who has one read something, without a token, until it expires.
 *
 * The URL ends in `{expires}.{signature}`: seconds since the epoch, and the signature (signatures.ts) of what the link is for
 * and of that time.
 */
import { z } from "zod";
import { badLink, isSignatureOf, signText } from "./signatures.ts";

/** 7 days. */
const MAX_LIFETIME_S = 604_800;

export const lifetimeSchema = z
  .int()
  .min(1)
  .max(MAX_LIFETIME_S)
  .meta({ description: "How long the link is valid, in seconds; at most 7 days." });

/** The body of a request for a link. */
export const linkBody = {
  required: true,
  description: "How long the link is valid.",
  content: {
    "application/json": {
      schema: z.strictObject({ expires_in: lifetimeSchema }),
      example: { expires_in: 3600 },
    },
  },
};

export const linkSchema = z.object({ url: z.url(), expiresAt: z.iso.datetime() }).meta({ id: "Link" });

/**
 * The end of a link's URL. `subject` says what the link is for; of two kinds of links, none may have a subject of the other.
 * Throws a `Problem` 503 if there is no key.
 */
export function signUntil(env: Env, subject: string, lifetimeS: number, nowMs: number): SignedLink {
  const expiresAtS = Math.floor(nowMs / 1000) + lifetimeS;
  return {
    token: `${expiresAtS}.${signText(env, `${subject}\n${expiresAtS}`)}`,
    expiresAt: new Date(expiresAtS * 1000).toISOString(),
  };
}

interface SignedLink {
  token: string;
  /** ISO 8601. */
  expiresAt: string;
}

/** Throws a `Problem` 403 if the link is not for this or has expired; a forger cannot tell which. 503: see the keys. */
export function checkUntil(env: Env, subject: string, token: string, nowMs: number): void {
  const [, expires = "", signature = ""] = /^([1-9]\d{0,11})\.([\w-]{43})$/.exec(token) ?? [];
  const isGenuine = isSignatureOf(env, `${subject}\n${Number(expires)}`, signature);
  if (!isGenuine || Number(expires) * 1000 <= nowMs) throw badLink();
}
