/** The variables and secrets of the files pillar. */
import { z } from "zod";
import { IS_PLACEHOLDER, isPlaceholder, perEnvSecret } from "../../kernel/secrets.ts";
import { perEnv, readVariable } from "../../kernel/variables.ts";
import { MAX_LENGTH, MAX_UNKNOWN_LENGTH } from "./parts.ts";

export interface FileSettings {
  maxBytes: number;
  /** For a file of unknown length. */
  maxUnknownBytes: number;
  /** For the body of one request, which the edge limits: what is more must come in several. */
  maxRequestBytes: number;
}

export const readFileSettings = perEnv((env): FileSettings => {
  const maxBytes = readVariable(env, "MAX_FILE_BYTES", z.int().min(1).max(MAX_LENGTH));
  return {
    maxBytes,
    maxUnknownBytes: Math.min(maxBytes, MAX_UNKNOWN_LENGTH),
    maxRequestBytes: readVariable(env, "MAX_REQUEST_BYTES", z.int().min(1).default(100_000_000)),
  };
});

const linkKeysSchema = z
  .string()
  .default("")
  .transform((text) => text.split(/\s+/).filter(Boolean))
  .pipe(
    z.array(
      z
        .string()
        .min(32, "each key needs at least 32 characters; several keys are separated by spaces")
        .refine((key) => !isPlaceholder(key), IS_PLACEHOLDER),
    ),
  );

/** Keys for links: the first one signs, all of them are accepted. A bad one is a `Problem` 503. */
export const readLinkKeys = perEnvSecret("LINK_KEYS", (env): readonly string[] =>
  readVariable(env, "LINK_KEYS", linkKeysSchema),
);
