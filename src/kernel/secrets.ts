/**
 * Secrets: what is wrong with one closes what needs it, and nothing else.
 *
 * A secret is changed at any time, without a deploy that could refuse it. If a bad one kept the Worker from starting, the
 * alarms of its objects would fail with it, and the runtime gives up an alarm after two minutes. So the Worker starts,
 * the log says what is wrong, and whoever needs the secret gets a problem that names it. A bad variable, in
 * `wrangler.toml`, still keeps the Worker from starting: then the platform refuses the deploy.
 */
import { log } from "./log.ts";
import { Problem } from "./problem.ts";
import { ConfigurationError, perEnv } from "./variables.ts";

/** What the examples have in place of a secret, and what people write there. */
const PLACEHOLDER = /openssl rand|change[ _-]?me|at least 32 characters|your[ _-](?:token|key|secret)/i;

export const isPlaceholder = (text: string): boolean => PLACEHOLDER.test(text);
export const IS_PLACEHOLDER = "this is still the placeholder: replace it with a value of your own";

/** What this isolate has logged. */
const logged = new Set<string>();

/** The problem of a caller who needs a secret that is missing or wrong. `why` names it, and does not show it. */
export function badSecret(name: string, why: string): Problem {
  if (!logged.has(why)) {
    logged.add(why);
    log("error", "a secret is missing or wrong, and what needs it is closed", { secret: name, why });
  }
  return new Problem(
    "bad-secret",
    `The secret ${name} is missing or wrong here. The log says what is wrong.`,
  );
}

/** As `perEnv`, for the secret called `name`: throws a `Problem` 503 if it is wrong. */
export function perEnvSecret<T>(name: string, parse: (env: Env) => T): (env: Env) => T {
  const read = perEnv((env): { value: T } | { why: string } => {
    try {
      return { value: parse(env) };
    } catch (error) {
      if (error instanceof ConfigurationError) return { why: error.message };
      throw error;
    }
  });
  return (env) => {
    const result = read(env);
    if ("why" in result) throw badSecret(name, result.why);
    return result.value;
  };
}

/** For the start: has what is wrong with the secrets logged. */
export function checkSecrets(env: Env, reads: readonly ((env: Env) => unknown)[]): void {
  for (const read of reads) {
    try {
      read(env);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }
}
