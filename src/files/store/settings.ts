/** The variables of the files pillar. */
import { z } from "zod";
import { perEnv, readVariable } from "../../kernel/variables.ts";
import { MAX_LENGTH, MAX_UNKNOWN_LENGTH } from "./parts.ts";
import { type UploadRule, uploadRulesSchema } from "./rule-schema.ts";

export interface FileSettings {
  maxBytes: number;
  /** For a file of unknown length. */
  maxUnknownBytes: number;
  /** For the body of one request, which the edge limits: what is more must come in several. */
  maxRequestBytes: number;
  /** Of several, the first whose prefix the id of a file has. */
  rules: UploadRule[];
}

export const readFileSettings = perEnv((env): FileSettings => {
  const maxBytes = readVariable(env, "MAX_FILE_BYTES", z.int().min(1).max(MAX_LENGTH));
  return {
    maxBytes,
    maxUnknownBytes: Math.min(maxBytes, MAX_UNKNOWN_LENGTH),
    maxRequestBytes: readVariable(env, "MAX_REQUEST_BYTES", z.int().min(1).default(100_000_000)),
    rules: readVariable(env, "UPLOAD_RULES", uploadRulesSchema),
  };
});
