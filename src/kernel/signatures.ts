/**
 * Signed URLs: who has one may do what it says, without a token, until it expires.
 *
 * A signature is an HMAC-SHA-256 over a text that says all of it: what kind of URL it is, for what, and until when. The
 * keys are a secret. The first key signs and all keys are accepted, so a key can be replaced without breaking what it has
 * signed: put the new one in front, and remove the old one when that has expired.
 *
 * On a developer's machine (`ACCESS=local`) this also works without the secret: the isolate makes a key of its own, and
 * what that has signed ends with it. So no file has a key that signs anything.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { readAccess } from "./access.ts";
import { Problem } from "./problem.ts";
import { IS_PLACEHOLDER, isPlaceholder, perEnvSecret } from "./secrets.ts";
import { readVariable } from "./variables.ts";

const linkKeysSchema = z
  .string()
  .default("")
  .transform((text) => text.split(/\s+/).filter(Boolean))
  .pipe(
    z.array(
      z
        .string()
        .min(32, "each key needs at least 32 characters; several keys are separated by spaces")
        .refine((key) => !isPlaceholder(key), IS_PLACEHOLDER),
    ),
  );

/** Keys for links: the first one signs, all of them are accepted. A bad one is a `Problem` 503. */
export const readLinkKeys = perEnvSecret("LINK_KEYS", (env): readonly string[] =>
  readVariable(env, "LINK_KEYS", linkKeysSchema),
);

/** The signature of a text, in base64url. Throws a `Problem` 503 if there is no key. */
export function signText(env: Env, text: string): string {
  const [key] = keysFor(env);
  if (key === undefined) {
    throw new Problem(
      "no-link-key",
      "Links cannot be signed here: set the secret LINK_KEYS (`npx wrangler secret put LINK_KEYS`).",
    );
  }
  return sign(key, text);
}

/** Whether this is the signature of the text, by one of the keys. Throws a `Problem` 503 if the keys are wrong. */
export function isSignatureOf(env: Env, text: string, signature: string): boolean {
  const received = Buffer.from(signature);
  return keysFor(env).some((key) => {
    // Compared as text: of the last character of base64, other spellings mean the same bytes.
    const valid = Buffer.from(sign(key, text));
    return valid.length === received.length && timingSafeEqual(valid, received);
  });
}

/** The `Problem` 403 of a URL that is not genuine or has expired; a forger cannot tell which. */
export const badLink = () =>
  new Problem(
    "forbidden",
    "This link is not valid or has expired. Ask whoever gave it to you for a new one.",
  );

function keysFor(env: Env): readonly string[] {
  const linkKeys = readLinkKeys(env);
  return linkKeys.length === 0 && readAccess(env).localIsOpen ? [ownKey()] : linkKeys;
}

let madeKey: string | undefined;
/** Not made before a request needs it: while a Worker starts, it has no randomness. */
const ownKey = () => (madeKey ??= randomBytes(32).toString("hex"));

const sign = (key: string, text: string): string =>
  createHmac("sha256", key).update(text).digest("base64url");
