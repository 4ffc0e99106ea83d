/** What a client may call a file, and how the name is kept: as metadata, never as a key or a path. */
import { parse as parseDisposition } from "content-disposition";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";

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
 * 400 if the header has two of them, has quotes that are not closed, or is not UTF-8.
 */
export function readFilename(headers: Headers): string | undefined {
  const header = headers.get("Content-Disposition");
  if (header === null) return undefined;
  // The runtime reads headers as UTF-8, and puts this where a byte is none.
  if (header.includes("\ufffd")) throw malformed("is not UTF-8: encode the name as filename* (RFC 8187)");
  // A quoted string that is not closed goes to the end: so the header is gone through once, whatever it says.
  const unquoted = header.replaceAll(/"(?:[^"\\]|\\[^])*(?:"|\\?$)/g, (text) =>
    isClosed(text) ? "quoted" : '"',
  );
  if (unquoted.includes('"')) throw malformed("has quotes that are not closed");
  const isTwice = TWICE.some((twice) => (unquoted.match(twice)?.length ?? 0) > 1);
  if (isTwice) throw malformed("was sent twice, or names the file twice");
  return parseDisposition(header).parameters.filename;
}

/** Whether a quoted string ends with a quote that no backslash escapes. */
const isClosed = (text: string) => text.length > 1 && /[^\\](?:\\\\)*"$/.test(text);

/** What can come once only. Two fields are one here, with a comma between their values. */
const TWICE = [
  /(?:^|,)[\t ]*(?:attachment|inline|form-data)(?=[\t ]*(?:[;,]|$))/gi,
  /;[\t ]*filename[\t ]*=/gi,
  /;[\t ]*filename\*[\t ]*=/gi,
];

const malformed = (reason: string) => new Problem("malformed", `The header Content-Disposition ${reason}.`);
