/** The files that these jobs make: what a caller says about them, and what the result of a task says. */
import { z } from "zod";
import type { FileInfo } from "../../files/index.ts";

/** 100 years, as for uploads. */
const MAX_EXPIRES_IN_S = 100 * 365 * 86_400;

export const expiresIn = z
  .int()
  .min(1)
  .max(MAX_EXPIRES_IN_S)
  .optional()
  .meta({ description: "The file that is made expires this many seconds after it is complete." });

export const filenameSchema = z
  .string()
  .min(1)
  .refine((name) => Buffer.byteLength(name) <= 255, "at most 255 bytes of UTF-8")
  .refine((name) => !/[/\\\p{Cc}]/u.test(name), "a name without slashes, backslashes and control characters");

/** What the result of a task says about a file that it made. */
export const describeFile = ({ id, filename, contentType, size, sha256 }: FileInfo) => ({
  fileId: id,
  filename,
  contentType,
  size,
  sha256,
});
