/**
 * The tokens: the secret `SLUICE_TOKENS`, and any secrets `SLUICE_TOKENS_<NAME>`, since a secret has at most 5 KB. Only
 * the SHA-256 of a token is kept in memory; it may also be all that the secret has (`token_sha256`).
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { type Principal, SCOPES } from "./app-env.ts";
import type { Bounds } from "./bounds.ts";
import { leastOf, type Quota, quotaSchema } from "./quotas.ts";
import { badSecret, IS_PLACEHOLDER, isPlaceholder } from "./secrets.ts";
import { ConfigurationError, perEnv, readVariable } from "./variables.ts";

const MIN_LENGTH = 32;

/** An id may have 128 characters, and 36 of them are not of the prefix (files/store/names.ts). */
const PREFIX = /^[\w-][\w.-]{0,91}$/;

/** A page of tasks asks each shard for each type. */
const MAX_TYPES = 20;

const tokenSchema = z
  .strictObject({
    name: z.string().min(1),
    scopes: z.array(z.enum(SCOPES)).min(1),
    token: z
      .string()
      .refine((text) => !isPlaceholder(text), { abort: true, message: IS_PLACEHOLDER })
      .min(MIN_LENGTH, `a token has at least ${MIN_LENGTH} characters`)
      .regex(/^[\w.~+/-]+=*$/, "a token is made of letters, digits and -._~+/ (RFC 6750 §2.1)")
      .optional(),
    token_sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/i, "is the SHA-256 of a token, in 64 hexadecimal digits")
      .optional(),
    expires_at: z.iso.datetime({ offset: true }).optional(),
    files: z
      .strictObject({
        prefix: z
          .string()
          .regex(PREFIX, "a prefix of ids has 1 to 92 letters, digits, `.`, `_` or `-`, and no dot in front"),
      })
      .optional(),
    task_types: z.array(z.string().min(1)).min(1).max(MAX_TYPES).optional(),
    quota: quotaSchema.default({}),
  })
  .refine(({ token, token_sha256 }) => (token === undefined) !== (token_sha256 === undefined), {
    message: "needs exactly one of token and token_sha256",
  })
  .superRefine(({ scopes, files, task_types }, context) => {
    const refuse = (message: string, at = "scopes") =>
      context.addIssue({ code: "custom", path: [at], message });
    const isBoundInFiles = scopes.includes("own") || files !== undefined;
    if (scopes.includes("admin") && (isBoundInFiles || task_types))
      refuse(
        'a token with "own", "files" or "task_types" is bound, and "admin" is not: it reaches everything',
      );
    if (task_types && isBoundInFiles)
      refuse('does not go with "own" or "files": a task reads whatever file its input names', "task_types");
    if (scopes.every((scope) => scope === "own"))
      refuse('"own" narrows "read" and "write": list one of them too');
  })
  .transform(
    ({ name, scopes, token, token_sha256, expires_at, files, task_types, quota }): Token => ({
      name,
      scopes,
      bounds: boundsOf(name, scopes.includes("own"), files?.prefix, task_types),
      quota,
      digest: token === undefined ? Buffer.from(token_sha256 ?? "", "hex") : sha256(token),
      expiresAtMs: expires_at === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires_at),
    }),
  );

function boundsOf(
  name: string,
  isOwn: boolean,
  filePrefix: string | undefined,
  taskTypes: string[] | undefined,
): Bounds | undefined {
  if (!isOwn && filePrefix === undefined && !taskTypes) return undefined;
  return { owner: isOwn ? name : null, filePrefix: filePrefix ?? "", taskTypes: taskTypes ?? [] };
}

interface Token extends Principal {
  quota: Quota;
  digest: Buffer;
  expiresAtMs: number;
}

const tokensSchema = z.array(tokenSchema).default([]);

interface Tokens {
  tokens: readonly Token[];
  /** What is wrong, by the name of the secret. The tokens of the other secrets are good all the same. */
  bad: readonly [secret: string, why: string][];
}

const readTokens = perEnv((env): Tokens => {
  const tokens = new Map<string, Token>();
  const bad: [string, string][] = [];
  const read = (name: string, list: () => readonly Token[]) => {
    try {
      const own = new Map<string, Token>();
      for (const [i, token] of list().entries()) {
        const digest = token.digest.toString("hex");
        if (tokens.has(digest) || own.has(digest))
          throw new ConfigurationError(
            `The secret ${name} is wrong:\n  ${name}.${i} is the token of an earlier entry`,
          );
        own.set(digest, token);
      }
      for (const [digest, token] of own) tokens.set(digest, token);
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      bad.push([name, error.message]);
    }
  };
  read("SLUICE_TOKENS", () => readVariable(env, "SLUICE_TOKENS", tokensSchema));
  for (const name of Object.keys(env).filter((key) => /^SLUICE_TOKENS_\w+$/.test(key)))
    read(name, () => readVariable(env, name, tokensSchema));
  return { tokens: [...tokens.values()], bad };
});

/** How many different names the tokens have. */
export const countTokenNames = (env: Env): number =>
  new Set(readTokens(env).tokens.map(({ name }) => name)).size;

/** The quotas of the tokens that have any, by their names. Tokens with one name share them: the least of each counts. */
export const readTokenQuotas = perEnv((env): ReadonlyMap<string, Quota> => {
  const quotas = [...Map.groupBy(readTokens(env).tokens, ({ name }) => name)].map(
    ([name, tokens]) => [name, leastOf(tokens.map(({ quota }) => quota))] as const,
  );
  return new Map(quotas.filter(([, quota]) => Object.keys(quota).length > 0));
});

/** Throws a `Problem` 503 if one of the secrets is wrong, and logs what is wrong with each. */
export function checkTokens(env: Env): void {
  const [problem] = readTokens(env).bad.map(([name, why]) => badSecret(name, why));
  if (problem) throw problem;
}

/** Whether there is any token. If one of the secrets is wrong, nobody knows: then throws a `Problem` 503. */
export function hasTokens(env: Env): boolean {
  if (readTokens(env).tokens.length > 0) return true;
  checkTokens(env);
  return false;
}

/**
 * Compares with every token, in constant time, so that the time reveals nothing about any of them. A hash does not show
 * how long its token is, so a short one is refused here: above all the empty one, whose hash is easily made by mistake.
 */
export function findToken(env: Env, token: string): Token | undefined {
  if (token.length < MIN_LENGTH) return undefined;
  const digest = sha256(token);
  let found: Token | undefined;
  for (const candidate of readTokens(env).tokens) {
    if (timingSafeEqual(candidate.digest, digest)) found = candidate;
  }
  return found;
}

/** The token whose SHA-256, in hexadecimal, this is. For a digest that this Worker itself has stored. */
export const findTokenByDigest = (env: Env, sha256Hex: string): Token | undefined =>
  readTokens(env).tokens.find(({ digest }) => digest.toString("hex") === sha256Hex);

/** In hexadecimal, as `token_sha256` has it. */
export const sha256OfToken = (token: string): string => sha256(token).toString("hex");

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
