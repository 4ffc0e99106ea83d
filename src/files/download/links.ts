/**
 * Links: a URL that lets anyone who has it read one file, without a token, until it expires.
 *
 * The URL ends in `{expires}.{signature}`: seconds since the epoch, and the signature of the file's id and that time
 * (kernel/signatures.ts).
 */
import { badLink, isSignatureOf, signText } from "../../kernel/signatures.ts";

/** 7 days. */
export const MAX_LINK_LIFETIME_S = 604_800;

/** The end of the link's URL; `expiresAt` is in seconds. Throws a `Problem` 503 if there is no key. */
export const signLink = (env: Env, fileId: string, expiresAt: number): string =>
  `${expiresAt}.${signText(env, textOf(fileId, expiresAt))}`;

/** Throws a `Problem` 403 if the link is not for this file or has expired; a forger cannot tell which. 503: see the keys. */
export function checkLink(env: Env, fileId: string, token: string, nowMs: number): void {
  const [, expires = "", signature = ""] = /^([1-9]\d{0,11})\.([\w-]{43})$/.exec(token) ?? [];
  const isGenuine = isSignatureOf(env, textOf(fileId, Number(expires)), signature);
  if (!isGenuine || Number(expires) * 1000 <= nowMs) throw badLink();
}

const textOf = (fileId: string, expiresAt: number): string => `sluice-link\n${fileId}\n${expiresAt}`;
