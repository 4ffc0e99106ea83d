/**
 * Links: a URL that shows one file to whoever has it, without a token, until a time.
 *
 * The URL ends in `{expires}.{signature}`: seconds since the epoch, and an HMAC-SHA-256 over the file's id and that
 * time. The keys are a secret; the first signs, and all are honoured, so that a key can be replaced without breaking
 * the links it has signed: put the new one in front, and take the old one away when its links are over.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Problem } from "../../kernel/problem.ts";
import { readFileSettings } from "../store/settings.ts";

/** In seconds: 7 days. */
export const MAX_LINK_LIFE = 604_800;

export function signLink(env: Env, fileId: string, expiresAt: number): string {
  const [key] = readFileSettings(env).linkKeys;
  if (key === undefined) {
    throw new Problem(
      "no-link-key",
      "Links cannot be signed here: set the secret LINK_KEYS (`npx wrangler secret put LINK_KEYS`).",
    );
  }
  return `${expiresAt}.${sign(key, fileId, expiresAt).toString("base64url")}`;
}

/** Throws a `Problem` if the link is not for this file, or over; to whoever made it up, both look the same. */
export function checkLink(env: Env, fileId: string, token: string, nowMs: number): void {
  const [, expires = "", signature = ""] = /^(\d{1,12})\.([\w-]{43})$/.exec(token) ?? [];
  const shown = Buffer.from(signature, "base64url");
  const signed = readFileSettings(env).linkKeys.map((key) => sign(key, fileId, Number(expires)));
  const isGenuine = signed.some((right) => right.length === shown.length && timingSafeEqual(right, shown));
  if (isGenuine && Number(expires) * 1000 > nowMs) return;
  throw new Problem(
    "forbidden",
    "This link is not valid, or is over. Ask whoever gave it to you for a new one.",
  );
}

const sign = (key: string, fileId: string, expiresAt: number): Buffer =>
  createHmac("sha256", key).update(`sluice-link\n${fileId}\n${expiresAt}`).digest();
