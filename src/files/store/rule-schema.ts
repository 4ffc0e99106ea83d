/** The variable `UPLOAD_RULES`: upload-rules.ts has what its rules mean. */
import { z } from "zod";

const TYPE = /^[\w!#$&^.+-]+\/(?:\*|[\w!#$&^.+-]+)$/;

/** `image/png`, or `image/*`. */
export const typePatternSchema = z
  .string()
  .max(127)
  .regex(TYPE, "a type such as image/png, or image/*")
  .toLowerCase();

const ruleSchema = z.strictObject({
  prefix: z
    .string()
    .regex(/^[\w.-]{0,128}$/, "the beginning of an id: letters, digits, `.`, `_` and `-`")
    .default(""),
  max_bytes: z.int().min(0).optional(),
  types: z.array(typePatternSchema).min(1).optional(),
  /** A task type that decides about each file before anybody sees it (checks.ts). */
  before_publish: z.string().min(1).max(64).optional(),
  extensions: z
    .array(
      z
        .string()
        .regex(/^[^./\\\s]{1,32}$/, "an extension without its dot, such as png")
        .toLowerCase(),
    )
    .min(1)
    .optional(),
});

export const uploadRulesSchema = z.array(ruleSchema).default([]);

export type UploadRule = z.output<typeof ruleSchema>;
