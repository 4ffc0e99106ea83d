/**
 * The Worker's variables and secrets, parsed once at the edge.
 *
 * Each feature reads its own with `readVariable`, inside `perEnv`, so that a request costs nothing. `src/index.ts` reads
 * all of them while the Worker starts. With a bad one it does not start, and the platform refuses to deploy it; the
 * message names the variable.
 */
import { z } from "zod";

/** The platform's limit for a variable or secret, in bytes of UTF-8, JSON as text. */
const MAX_BYTES = 5 * 1024;

/** A variable is missing or wrong. The message names it and says what it must be, and never shows its value. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

/** Parses one variable. An object or array may also be a JSON string, the only form that secrets and `--var` have. */
export function readVariable<S extends z.ZodType>(env: object, name: string, schema: S): z.output<S> {
  const raw: unknown = Reflect.get(env, name);
  const length = Buffer.byteLength(typeof raw === "string" ? raw : (JSON.stringify(raw) ?? ""));
  if (length > MAX_BYTES)
    throw new ConfigurationError(
      `The variable ${name} has ${length} bytes, and the platform takes at most ${MAX_BYTES}.${adviceFor(name)}`,
    );
  const parsed = schema.safeParse(
    typeof raw === "string" && /^\s*[[{]/.test(raw) ? parseJson(name, raw) : raw,
  );
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map(
    (issue) => `  ${[name, ...issue.path].join(".")}: ${messageOf(issue)}`,
  );
  throw new ConfigurationError(
    `The variable ${name} (wrangler.toml, or a secret) is wrong:\n${errors.join("\n")}`,
  );
}

/** A long name of a member may be a secret in the wrong place. */
const messageOf = (issue: z.core.$ZodIssue) =>
  issue.code === "unrecognized_keys" && issue.keys.some((key) => key.length > 30)
    ? "has a member that it must not have"
    : issue.message;

function adviceFor(name: string): string {
  const [base] = /^(?:UPSTREAMS|SLUICE_TOKENS)/.exec(name) ?? [];
  return base === undefined
    ? ""
    : ` Move some of its entries to variables of their own: ${base}_A, ${base}_B and so on.`;
}

function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigurationError(`The variable ${name} is not valid JSON.`);
  }
}

/** Calls `parse` once for each `env`, and keeps the result as long as the `env` lives. */
export function perEnv<T>(parse: (env: Env) => T): (env: Env) => T {
  const results = new WeakMap<Env, T>();
  return (env) => {
    const kept = results.get(env);
    if (kept !== undefined) return kept;
    const parsed = parse(env);
    results.set(env, parsed);
    return parsed;
  };
}
