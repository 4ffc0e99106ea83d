/** Header fields that several kinds of upload read. */
import { rejectCodings } from "../../kernel/headers.ts";
import { Problem } from "../../kernel/problem.ts";

/**
 * A whole number of bytes, 0 or more; null if the field is missing. Throws a `Problem` 400 for anything else. However
 * large it is, it is a number: the caller says that it is too large. One beyond 2^53 is not exact.
 */
export function readSize(headers: Headers, name: string): number | null {
  const text = headers.get(name);
  if (text === null) return null;
  if (/^\d+$/.test(text)) return Number(text);
  throw new Problem("malformed", `The header ${name} is not a number of bytes.`);
}

/**
 * Throws a `Problem` 415 if the bytes are encoded, e.g. by gzip: a file is stored exactly as it arrives, and nothing
 * would tell its readers that they have to decode it.
 */
export function rejectContentCoding(headers: Pick<Headers, "get">, what = "file"): void {
  rejectCodings(
    headers,
    `Send the ${what} without Content-Encoding (identity): it is stored exactly as it arrives.`,
  );
}

/** Names of content as it is (RFC 2045 §6.2). */
export const UNENCODED = ["binary", "8bit", "7bit"];

/**
 * Throws a `Problem` 415 if the header of a request says that its bytes are in an encoding of mail, such as base64. HTTP
 * has none (RFC 9112 §7): whoever says so has encoded the bytes, and they would be stored like that.
 */
export function rejectTransferEncoding(headers: Headers): void {
  const encoding = (headers.get("Content-Transfer-Encoding") ?? "").trim().toLowerCase();
  if (encoding === "" || UNENCODED.includes(encoding)) return;
  throw new Problem(
    "unsupported-media",
    "Send the bytes as they are, without Content-Transfer-Encoding. Only a part of a form may have one.",
  );
}

/** Metadata of tus that is read here, as UTF-8. All other values may be any bytes. */
const TEXT_KEYS = ["filename", "name", "filetype", "type", "expires_in", "task"];

/**
 * The pairs of tus's `Upload-Metadata`: each key has a value in base64, which may be empty. Throws a `Problem` 400 for
 * anything else, for a key that comes twice, and for text that is not UTF-8.
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
    const bytes = Buffer.from(value, "base64");
    const text = bytes.toString("utf8");
    if (TEXT_KEYS.includes(key) && !bytes.equals(Buffer.from(text))) {
      throw new Problem("malformed", `The value of ${key} in Upload-Metadata is not the base64 of UTF-8.`);
    }
    entries.set(key, text);
  }
  return entries;
}

export const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
