/** `POST /upload-file`: exactly one file, in the field `file`, from a form into R2. */
import { describeError, log } from "../kernel/log.ts";
import { Problem } from "../kernel/problem.ts";
import { type FilePart, readForm } from "./form.ts";
import type { FileRecord } from "./schema.ts";
import { removeFile, storeFile } from "./store.ts";

/** In bytes of UTF-8: what file systems allow, and what fits into R2's metadata when it is encoded. */
const MAX_FILENAME_LENGTH = 255;

/** Stores the form's file. If anything about the form is wrong, even after the file, nothing is left in R2. */
export async function uploadForm(bucket: R2Bucket, request: Request): Promise<{ id: string } & FileRecord> {
  let stored: ({ id: string } & FileRecord) | undefined;
  let seen = false;
  const onFile = async (part: FilePart) => {
    checkPart(part);
    if (seen) throw refused("The form has more than one file; send each in a request of its own.");
    seen = true;
    const { filename, contentType, chunks } = part;
    stored = await storeFile(bucket, {
      filename: filename.toWellFormed(),
      contentType: mediaType(contentType),
      chunks,
    });
  };
  try {
    await readForm(request, { onFile, onField: checkField });
    if (!stored) throw refused('There is no file in the form; send one in the field "file".');
    return stored;
  } catch (error) {
    if (stored) await Promise.allSettled([removeFile(bucket, stored.id)]);
    log("info", "upload abandoned, and nothing of it kept", { error: describeError(error) });
    throw error;
  }
}

function checkPart({ field, filename }: FilePart): void {
  if (field !== "file") throw refused('The file is in another field; send it in the field "file".');
  if (filename === "") throw refused("The file has no name: no file was chosen.");
  if (Buffer.byteLength(filename) > MAX_FILENAME_LENGTH) {
    throw refused(`The name of the file is longer than ${MAX_FILENAME_LENGTH} bytes.`);
  }
}

/** The client's word for what the file is, if it can stand in a header; else that nothing is known of it. */
function mediaType(sent: string): string {
  return sent.length <= 127 && /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(sent)
    ? sent
    : "application/octet-stream";
}

function checkField(name: string): void {
  if (name === "file") throw refused('The field "file" is text, not a file; with curl: -F file=@path.');
}

function refused(detail: string): Problem {
  return new Problem("invalid", detail, { errors: [{ at: "form/file", detail }] });
}
