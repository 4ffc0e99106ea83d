/**
 * Callbacks: what the variables say of them. The tasks ask here before they promise one, the jobs before they send it.
 *
 * Where a callback may go is a list of origins, so that whoever may start a task cannot have this Worker call whom
 * they like. Without a key there are no callbacks: an unsigned one would be worth nothing to its receiver.
 */
import { z } from "zod";
import { perEnv, readVariable } from "./variables.ts";

const originsSchema = z
  .record(z.string(), z.string(), { error: "must say for each origin which upstream leads there" })
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

/** As Standard Webhooks has them: newest first. */
const keysSchema = z
  .string()
  .default("")
  .transform((text) => text.split(/\s+/).filter(Boolean))
  .pipe(
    z.array(
      z.string().refine(isKey, {
        message:
          "each key is whsec_ and then the base64 of 24 to 64 bytes; more than one are separated by spaces",
      }),
    ),
  );

/** The origins that callbacks may go to, each with the name of the upstream that leads there. */
export const readCallbackOrigins = perEnv(
  (env): ReadonlyMap<string, string> => readVariable(env, "CALLBACK_ORIGINS", originsSchema),
);

/** The keys that callbacks are signed with, all of them at once; none if there are no callbacks here. */
export const readCallbackKeys = perEnv((env): readonly string[] =>
  readVariable(env, "CALLBACK_KEYS", keysSchema),
);

/** Why no callback can go to `url`, as a sentence for whoever asked for it; undefined if one can. */
export function callbackFaultOf(env: Env, url: string): string | undefined {
  if (readCallbackKeys(env).length === 0)
    return "There are no callbacks here: set the secret CALLBACK_KEYS (`npx wrangler secret put CALLBACK_KEYS`).";
  if (!URL.canParse(url)) return "A callback needs an absolute URL.";
  const { origin, username, password, hash } = new URL(url);
  if (username !== "" || password !== "" || hash !== "")
    return "The URL of a callback has no user, no password and no fragment.";
  const origins = readCallbackOrigins(env);
  if (origins.has(origin)) return undefined;
  return origins.size === 0
    ? "Callbacks may go nowhere here: name their origins in the variable CALLBACK_ORIGINS."
    : `Callbacks may go to ${[...origins.keys()].join(", ")} only.`;
}

function isExactOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text && !text.includes("*");
}

function isKey(text: string): boolean {
  const [, base64 = ""] = /^whsec_(.+)$/.exec(text) ?? [];
  const bytes = Buffer.from(base64, "base64");
  return bytes.length >= 24 && bytes.length <= 64 && bytes.toString("base64") === base64;
}
