/**
 * Variables and secrets of the Worker, parsed once at the border.
 *
 * Each feature reads the ones it owns with `readVariable`, inside `perEnv`, so that a request pays nothing.
 * `src/index.ts` reads all of them while the Worker starts: with a bad one it does not start, and a deploy of
 * it is refused, with a message that names the variable.
 */
import { z } from "zod";

/** A variable that is missing or wrong. The message names it and says what it should be, never what it was. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

/** Parses one variable. Objects may also be given as a JSON string, as secrets and `--var` can only be. */
export function readVariable<S extends z.ZodType>(env: object, name: string, schema: S): z.output<S> {
  const raw: unknown = Reflect.get(env, name);
  const parsed = schema.safeParse(
    typeof raw === "string" && /^\s*[[{]/.test(raw) ? parseJson(name, raw) : raw,
  );
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `  ${[name, ...issue.path].join(".")}: ${issue.message}`);
  throw new ConfigurationError(
    `The variable ${name} (wrangler.toml, or a secret) is wrong:\n${faults.join("\n")}`,
  );
}

function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigurationError(`The variable ${name} is not valid JSON.`);
  }
}

/** Remembers what `parse` made of an `env`, for as long as that `env` lives. */
export function perEnv<T>(parse: (env: Env) => T): (env: Env) => T {
  const known = new WeakMap<Env, T>();
  return (env) => {
    const before = known.get(env);
    if (before !== undefined) return before;
    const parsed = parse(env);
    known.set(env, parsed);
    return parsed;
  };
}
