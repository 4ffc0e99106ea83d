/**
 * What the variables say about callbacks. The tasks check a URL here before they accept it, and the jobs before they
 * send to it.
 *
 * Callbacks go to listed origins only, so that a caller who may start a task cannot make this Worker call any host.
 * Without a key there are no callbacks: a receiver could not trust one that is not signed.
 */
import { z } from "zod";
import { perEnvSecret } from "./secrets.ts";
import { perEnv, readVariable } from "./variables.ts";

const originsSchema = z
  .record(z.string(), z.string(), { error: "must name, for each origin, the upstream that leads there" })
  .default({})
  .superRefine((origins, refinement) => {
    for (const origin of Object.keys(origins).filter((text) => !isExactOrigin(text)))
      refinement.addIssue({
        code: "custom",
        path: [origin],
        message: "an origin is scheme, host and port, and nothing more: https://app.example.com",
      });
  })
  .transform((origins) => new Map(Object.entries(origins)));

/** Keys as Standard Webhooks writes them, the newest first. */
const keysSchema = z
  .string()
  .default("")
  .transform((text) => text.split(/\s+/).filter(Boolean))
  .pipe(
    z.array(
      z.string().refine(isKey, {
        message:
          "each key is whsec_ followed by the base64 of 24 to 64 bytes; separate several keys by spaces",
      }),
    ),
  );

/** The origins that callbacks may go to, each with the name of the upstream that leads there. */
export const readCallbackOrigins = perEnv(
  (env): ReadonlyMap<string, string> => readVariable(env, "CALLBACK_ORIGINS", originsSchema),
);

/** The keys, each of which signs every callback. With none, there are no callbacks; a bad one is a `Problem` 503. */
export const readCallbackKeys = perEnvSecret("CALLBACK_KEYS", (env): readonly string[] =>
  readVariable(env, "CALLBACK_KEYS", keysSchema),
);

/**
 * Why no callback can go to `url`, as a sentence for the caller who asked for it; undefined if one can. Throws a `Problem`
 * 503 if the keys cannot be read.
 */
export function callbackUrlError(env: Env, url: string): string | undefined {
  if (readCallbackKeys(env).length === 0)
    return "There are no callbacks here: set the secret CALLBACK_KEYS (`npx wrangler secret put CALLBACK_KEYS`).";
  if (!URL.canParse(url)) return "A callback needs an absolute URL.";
  const { origin, username, password, hash } = new URL(url);
  if (username !== "" || password !== "" || hash !== "")
    return "The URL of a callback must have no user, no password and no fragment.";
  const origins = readCallbackOrigins(env);
  if (origins.has(origin)) return undefined;
  return origins.size === 0
    ? "No callbacks are allowed here yet: name their origins in the variable CALLBACK_ORIGINS."
    : `Callbacks may go only to ${[...origins.keys()].join(", ")}.`;
}

function isExactOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text && !text.includes("*");
}

function isKey(text: string): boolean {
  const [, base64 = ""] = /^whsec_(.+)$/.exec(text) ?? [];
  const bytes = Buffer.from(base64, "base64");
  return bytes.length >= 24 && bytes.length <= 64 && bytes.toString("base64") === base64;
}
