/**
 * A grant lets people without a token upload, within its terms. Its id is the terms themselves, as base64url of JSON, and
 * a signature (kernel/signatures.ts): so nothing is stored before a grant is used, and whoever has the URL can use it.
 */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { isSignatureOf, signText } from "../../kernel/signatures.ts";
import { fileIdSchema } from "../store/names.ts";
import { typePatternSchema } from "../store/rule-schema.ts";
import type { GrantTerms } from "../store/uploader.ts";

/** 30 days. */
const MAX_GRANT_LIFETIME_S = 30 * 86_400;
/** Of metadata, as JSON, in bytes: the URL has all of it. */
const MAX_METADATA_BYTES = 1_024;
/** A file's id has 128 characters, and 36 of them are not of the prefix. */
const MAX_PREFIX_LENGTH = 92;

export const grantRequestSchema = z.strictObject({
  max_bytes: z.int().min(0).meta({ description: "Of each file, in bytes." }),
  content_types: z.array(typePatternSchema).max(20).default([]).meta({
    description:
      "What the files may be, such as `image/*`, by what their uploader says and by their first bytes. Default: anything.",
  }),
  files: z.int().min(1).max(1000).default(1).meta({ description: "How many files. Default: 1." }),
  expires_in: z.int().min(1).max(MAX_GRANT_LIFETIME_S).meta({ description: "In seconds; at most 30 days." }),
  prefix: fileIdSchema
    .max(MAX_PREFIX_LENGTH)
    .or(z.literal(""))
    .default("")
    .meta({ description: "What the ids of the files begin with; the rest is a UUID." }),
  task: z
    .string()
    .min(1)
    .max(1_024)
    .optional()
    .meta({ description: "A task to start with each file, as `?task=` of an upload." }),
  metadata: z
    .record(z.string().min(1), z.string())
    .refine((value) => Buffer.byteLength(JSON.stringify(value)) <= MAX_METADATA_BYTES, {
      message: `at most ${MAX_METADATA_BYTES} bytes as JSON`,
    })
    .optional()
    .meta({ description: "Shown with each file." }),
  name: z
    .string()
    .regex(/^[\w.-]{1,64}$/, "1 to 64 letters, digits, `.`, `_` or `-`")
    .optional()
    .meta({ description: "The files have the owner `grant:` and this. Default: an id." }),
});

export type GrantRequest = z.output<typeof grantRequestSchema>;

/** The terms as the URL has them. `expiresAt` is in seconds. */
const signedSchema = z.object({
  id: z.string(),
  name: z.string().nullable(),
  files: z.int(),
  expiresAt: z.int(),
  maxBytes: z.int(),
  contentTypes: z.array(z.string()),
  prefix: z.string(),
  task: z.string().nullable(),
  metadata: z.record(z.string(), z.string()).nullable(),
});

/** The id of a new grant. Throws a `Problem` 503 if there is no key. */
export function signGrant(env: Env, request: GrantRequest, nowMs: number): string {
  const signed: z.output<typeof signedSchema> = {
    id: randomUUID(),
    name: request.name ?? null,
    files: request.files,
    expiresAt: Math.floor(nowMs / 1000) + request.expires_in,
    maxBytes: request.max_bytes,
    contentTypes: request.content_types,
    prefix: request.prefix,
    task: request.task ?? null,
    metadata: request.metadata ?? null,
  };
  const text = Buffer.from(JSON.stringify(signed)).toString("base64url");
  return `${text}.${signText(env, textOf(text))}`;
}

/** The terms of a grant, also of one that has expired. Throws a `Problem` 403 if nobody here has signed it. */
export function readGrant(env: Env, id: string): GrantTerms {
  const [, text = "", signature = ""] = /^([\w-]+)\.([\w-]{43})$/.exec(id) ?? [];
  if (!isSignatureOf(env, textOf(text), signature)) throw notValid();
  const signed = signedSchema.parse(JSON.parse(Buffer.from(text, "base64url").toString()));
  return { ...signed, expiresAtMs: signed.expiresAt * 1000 };
}

/** As `readGrant`. Throws a `Problem` 403 if the grant has expired, too: a forger cannot tell which. */
export function readLiveGrant(env: Env, id: string, nowMs: number): GrantTerms {
  const terms = readGrant(env, id);
  if (terms.expiresAtMs <= nowMs) throw notValid();
  return terms;
}

const textOf = (text: string) => `sluice-upload-grant\n${text}`;

const notValid = () =>
  new Problem(
    "forbidden",
    "This grant is not valid or has expired. Ask whoever gave it to you for a new one.",
  );
