/**
 * What the secret `LINK_KEYS` signs: HMAC-SHA-256 in base64url. The first key signs and all keys are accepted, so a key
 * can be replaced without breaking what it signed: put the new one in front, and remove the old one later.
 *
 * On a developer's machine (`ACCESS=local`) it also works without the secret: the isolate makes a key of its own, and
 * what that signed ends with it. So no file has a key that signs anything.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { readAccess } from "../../kernel/access.ts";
import { Problem } from "../../kernel/problem.ts";
import { readLinkKeys } from "./settings.ts";

/** The signature of a text, which must begin with what it is for. Throws a `Problem` 503 if there is no key. */
export function signText(env: Env, text: string): string {
  const [key] = keysFor(env);
  if (key !== undefined) return hmac(key, text);
  throw new Problem(
    "no-link-key",
    "Links cannot be signed here: set the secret LINK_KEYS (`npx wrangler secret put LINK_KEYS`).",
  );
}

/** Whether one of the keys has signed the text. Throws a `Problem` 503 if the secret is wrong. */
export function isSigned(env: Env, text: string, signature: string): boolean {
  const received = Buffer.from(signature);
  return keysFor(env).some((key) => {
    // Compared as text: of the last character of base64, other spellings mean the same bytes.
    const valid = Buffer.from(hmac(key, text));
    return valid.length === received.length && timingSafeEqual(valid, received);
  });
}

function keysFor(env: Env): readonly string[] {
  const linkKeys = readLinkKeys(env);
  return linkKeys.length === 0 && readAccess(env).localIsOpen ? [ownKey()] : linkKeys;
}

let madeKey: string | undefined;
/** Not made before a request needs it: while a Worker starts, it has no randomness. */
const ownKey = () => (madeKey ??= randomBytes(32).toString("hex"));

const hmac = (key: string, text: string): string =>
  createHmac("sha256", key).update(text).digest("base64url");
