/** What a client may call a file, and how that is kept: as metadata, never as a key or a path. */
import { parse as parseDisposition } from "content-disposition";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";

/** In bytes of UTF-8: what file systems allow. */
const MAX_FILENAME_LENGTH = 255;

/** The id of a file: safe in a path, and no hidden file (`.htaccess`) where somebody saves it. */
export const fileIdSchema = z
  .string()
  .regex(
    /^[\w-][\w.-]{0,127}$/,
    "an id is 1 to 128 letters, digits, `.`, `_` or `-`, and begins with no dot",
  );

/** The last part of whatever path the client sent, as Unicode without control characters; may be empty. */
export function cleanFilename(sent: string): string {
  const name = sent.toWellFormed().replaceAll(/\p{Cc}/gu, "");
  const base = name.slice(name.lastIndexOf("/") + 1);
  // Only Windows has paths with backslashes; they begin with a drive, a server, or a folder above.
  const last = /^([a-z]:|\\|\.\.?)\\/i.test(base) ? base.slice(base.lastIndexOf("\\") + 1) : base;
  return last === "." || last === ".." ? "" : last;
}

/** Throws a `Problem` 422 at a name that is too long. */
export function checkFilename(filename: string): void {
  if (Buffer.byteLength(filename) <= MAX_FILENAME_LENGTH) return;
  const detail = `The name of the file is longer than ${MAX_FILENAME_LENGTH} bytes.`;
  throw new Problem("invalid", detail, { errors: [{ at: "filename", detail }] });
}

/** The file name in a Content-Disposition of a request (RFC 6266, RFC 8187); undefined if there is none. */
export function filenameOf(headers: Headers): string | undefined {
  const header = headers.get("Content-Disposition");
  return header === null ? undefined : parseDisposition(header).parameters.filename;
}

/** The client's word for what the file is, if it can stand in a header; else that nothing is known of it. */
export function mediaType(sent: string | null | undefined): string {
  const [type = ""] = (sent ?? "").split(";", 1);
  const clean = type.trim().toLowerCase();
  return clean.length <= 127 && /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(clean)
    ? clean
    : "application/octet-stream";
}
