/** Links: a URL that lets anyone who has it read one file, without a token, until it expires (kernel/links.ts). */
import { checkUntil, signUntil } from "../../kernel/links.ts";

/** The end of the link's URL, and when it expires. Throws a `Problem` 503 if there is no key. */
export const signLink = (env: Env, fileId: string, lifetimeS: number, nowMs: number) =>
  signUntil(env, subjectOf(fileId), lifetimeS, nowMs);

/** Throws a `Problem` 403 if the link is not for this file or has expired; a forger cannot tell which. 503: see the keys. */
export const checkLink = (env: Env, fileId: string, token: string, nowMs: number): void =>
  checkUntil(env, subjectOf(fileId), token, nowMs);

const subjectOf = (fileId: string): string => `sluice-link\n${fileId}`;
