/** Header fields that several kinds of upload read. */
import { Problem } from "../../kernel/problem.ts";

/** A whole number of bytes, 0 or more; null if the field is missing. Throws a `Problem` 400 for anything else. */
export function readSize(headers: Headers, name: string): number | null {
  const text = headers.get(name);
  if (text === null) return null;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Problem("malformed", `The header ${name} is not a number of bytes.`);
}

/**
 * The pairs of tus's `Upload-Metadata`: each key has a value in base64, which may be empty. Throws a `Problem` 400 for
 * anything else, and for a key that comes twice.
 */
export function readMetadata(header: string | null): Map<string, string> {
  const entries = new Map<string, string>();
  for (const pair of header === null || header === "" ? [] : header.split(",")) {
    const [key = "", value = "", ...rest] = pair.trim().split(" ");
    if (!/^[\x21-\x7e]+$/.test(key) || !BASE64.test(value) || rest.length > 0 || entries.has(key)) {
      throw new Problem(
        "malformed",
        "Upload-Metadata is not a list of different keys, each with a value in base64.",
      );
    }
    entries.set(key, Buffer.from(value, "base64").toString("utf8"));
  }
  return entries;
}

export const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
