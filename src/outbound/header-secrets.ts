/** Secrets in the headers of an upstream: a call that lacks one is not made, and all other upstreams can be called. */
import { badSecret, IS_PLACEHOLDER, isPlaceholder } from "../kernel/secrets.ts";

/** RFC 9110 §5.5, ASCII only. */
export const HEADER_VALUE = /^[\t\x20-\x7e]*$/;

/** `why` names the secret, and does not show it. */
export interface BadSecret {
  name: string;
  why: string;
}

/** Throws a `Problem` 503 if calls to an upstream lack a secret. */
export function checkUpstreamSecret({ badSecret: bad }: { badSecret: BadSecret | undefined }): void {
  if (bad) throw badSecret(bad.name, bad.why);
}

/** Replaces the names of secrets in a header value, as in `Bearer ${WEATHER_KEY}`, with the secrets. */
export function fillSecrets(env: Env, at: string, text: string): { value: string; bad?: BadSecret } {
  let bad: BadSecret | undefined;
  const value = text.replaceAll(/\$\{(\w+)\}/g, (_match, name: string) => {
    const secret: unknown = Reflect.get(env, name);
    const why = secretError(secret);
    if (why === undefined && typeof secret === "string") return secret;
    bad = { name, why: `The variable ${at} names the secret ${name}, which ${why}` };
    return "";
  });
  return bad ? { value, bad } : { value };
}

/** What is wrong with a secret that is to be part of a header. */
function secretError(secret: unknown): string | undefined {
  if (typeof secret !== "string" || secret === "")
    return "is not set: put it into .dev.vars, or, deployed, run: npx wrangler secret put";
  if (!HEADER_VALUE.test(secret)) return "is not a valid header value.";
  return isPlaceholder(secret) ? `is wrong: ${IS_PLACEHOLDER}.` : undefined;
}
