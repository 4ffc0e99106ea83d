/** What a client may call a file, and how the name is kept: as metadata, never as a key or a path. */
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { filenameOf, QUOTED_STRING, readParameters } from "./disposition.ts";

/** In bytes of UTF-8: what file systems allow. */
const MAX_FILENAME_BYTES = 255;

/** The id of a file: safe in a path, and not a hidden file (`.htaccess`) where somebody saves it. */
export const fileIdSchema = z
  .string()
  .regex(
    /^[\w-][\w.-]{0,127}$/,
    "an id has 1 to 128 letters, digits, `.`, `_` or `-`, and does not begin with a dot",
  );

/**
 * Characters that are not part of a name: controls, line and paragraph separators, and those that change the direction
 * of text, by which `annexe<U+202E>fdp.exe` shows as `annexeexe.pdf` (Unicode TR 36 §3.8).
 */
const INVISIBLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** The last part of whatever path the client sent, as Unicode without invisible characters; may be empty. */
export function cleanFilename(sent: string): string {
  const name = sent.toWellFormed().replaceAll(INVISIBLE, "");
  const base = name.slice(name.lastIndexOf("/") + 1);
  // Only Windows has paths with backslashes; they begin with a drive, a server, or a parent folder.
  const last = /^([a-z]:|\\|\.\.?)\\/i.test(base) ? base.slice(base.lastIndexOf("\\") + 1) : base;
  return last === "." || last === ".." ? "" : last;
}

/** Throws a `Problem` 422 if the name is too long. */
export function checkFilename(filename: string): void {
  if (Buffer.byteLength(filename) <= MAX_FILENAME_BYTES) return;
  const detail = `The name of the file is longer than ${MAX_FILENAME_BYTES} bytes.`;
  throw new Problem("invalid", detail, { errors: [{ at: "filename", detail }] });
}

/**
 * The file name in a request's Content-Disposition (RFC 6266, RFC 8187); undefined if there is none. Throws a `Problem`
 * 400 if the header has two of them, cannot be read, is not UTF-8, or has only a name that cannot be decoded.
 */
export function readFilename(headers: Headers): string | undefined {
  const header = headers.get("Content-Disposition");
  if (header === null) return undefined;
  // The runtime reads headers as UTF-8, and puts this where a byte is none.
  if (header.includes("\ufffd")) throw malformed("is not UTF-8: encode the name as filename* (RFC 8187)");
  // Two fields are one here, with a comma between their values, which may also be in a name.
  const unquoted = header.replaceAll(/"(?:[^"\\]|\\[^])*"?/g, '""');
  if ((unquoted.match(TYPE)?.length ?? 0) > 1) throw malformed("was sent twice");
  const [type = ""] = header.split(";", 1);
  const parameters = readParameters(header.slice(type.length).trim(), [QUOTED_STRING], malformed);
  const filename = filenameOf(parameters);
  if (filename === null) throw malformed("has a filename* that cannot be decoded (RFC 8187)");
  return filename;
}

const TYPE = /(?:^|,)[\t ]*(?:attachment|inline|form-data)(?=[\t ]*(?:[;,]|$))/gi;

const malformed = (reason: string) => new Problem("malformed", `The header Content-Disposition ${reason}.`);
