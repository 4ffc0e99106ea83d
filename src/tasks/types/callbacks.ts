/**
 * Which callback URLs are accepted. Whoever sends callbacks registers its check here, because this pillar cannot import
 * it: what would be refused when the task has ended must be refused when it is submitted, while its caller can be told.
 */
import { callbackUrlError } from "../../kernel/callbacks.ts";

/** Why no callback can go to `url`, as a sentence for the caller who asked for it; undefined if one can. */
type CallbackCheck = (env: Env, url: string) => string | undefined;

let check: CallbackCheck = callbackUrlError;

export function registerCallbackCheck(registered: CallbackCheck): void {
  check = registered;
}

export const checkCallbackUrl: CallbackCheck = (env, url) => check(env, url);
