/**
 * Links: a URL that lets anyone who has it read one file, without a token, until it expires.
 *
 * The URL ends in `{expires}.{signature}`: seconds since the epoch, and an HMAC-SHA-256 over the file's id and that
 * time. The keys are a secret. The first key signs and all keys are accepted, so a key can be replaced without
 * breaking the links it signed: put the new one in front, and remove the old one when its links have expired.
 *
 * On a developer's machine (`ACCESS=local`) links also work without the secret: the isolate makes a key of its own, and
 * its links end with it. So no file has a key that signs anything.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { readAccess } from "../../kernel/access.ts";
import { Problem } from "../../kernel/problem.ts";
import { readLinkKeys } from "../store/settings.ts";

/** 7 days. */
export const MAX_LINK_LIFETIME_S = 604_800;

/** The end of the link's URL; `expiresAt` is in seconds. Throws a `Problem` 503 if there is no key. */
export function signLink(env: Env, fileId: string, expiresAt: number): string {
  const [key] = keysFor(env);
  if (key === undefined) {
    throw new Problem(
      "no-link-key",
      "Links cannot be signed here: set the secret LINK_KEYS (`npx wrangler secret put LINK_KEYS`).",
    );
  }
  return `${expiresAt}.${sign(key, fileId, expiresAt)}`;
}

/** Throws a `Problem` 403 if the link is not for this file or has expired; a forger cannot tell which. 503: see the keys. */
export function checkLink(env: Env, fileId: string, token: string, nowMs: number): void {
  const [, expires = "", signature = ""] = /^([1-9]\d{0,11})\.([\w-]{43})$/.exec(token) ?? [];
  const received = Buffer.from(signature);
  const isGenuine = keysFor(env).some((key) => {
    // Compared as text: of the last character of base64, other spellings mean the same bytes.
    const valid = Buffer.from(sign(key, fileId, Number(expires)));
    return valid.length === received.length && timingSafeEqual(valid, received);
  });
  if (isGenuine && Number(expires) * 1000 > nowMs) return;
  throw new Problem(
    "forbidden",
    "This link is not valid or has expired. Ask whoever gave it to you for a new one.",
  );
}

function keysFor(env: Env): readonly string[] {
  const linkKeys = readLinkKeys(env);
  return linkKeys.length === 0 && readAccess(env).localIsOpen ? [ownKey()] : linkKeys;
}

let madeKey: string | undefined;
/** Not made before a request needs it: while a Worker starts, it has no randomness. */
const ownKey = () => (madeKey ??= randomBytes(32).toString("hex"));

const sign = (key: string, fileId: string, expiresAt: number): string =>
  createHmac("sha256", key).update(`sluice-link\n${fileId}\n${expiresAt}`).digest("base64url");
