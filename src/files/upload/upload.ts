/**
 * Stores the files of one request: those of a form, or the body of a PUT. A request stores everything it brings or
 * nothing. Its files become visible only when its last byte has been read and everything about it is valid.
 */

import { type Bounds, isWithin } from "../../kernel/bounds.ts";
import { Problem } from "../../kernel/problem.ts";
import { discardBlob, type StoredBlob, writeBlob } from "../store/blob-writer.ts";
import { limitSize, readChunks } from "../store/body.ts";
import type { CommitResult } from "../store/catalogue.ts";
import { readContentDigests } from "../store/digests.ts";
import { holdFor } from "../store/held.ts";
import type { Hold } from "../store/held-files.ts";
import { cleanMediaType, essenceOf } from "../store/media-type.ts";
import { checkFilename, cleanFilename, readFilename } from "../store/names.ts";
import {
  evaluatePreconditions,
  hasPreconditions,
  NO_PRECONDITIONS,
  type Preconditions,
  readPreconditions,
} from "../store/preconditions.ts";
import { preconditionFailed } from "../store/problems.ts";
import { expiryIn } from "../store/save-file.ts";
import {
  etagOf,
  type FileRow,
  type NewFile,
  type StoredFile,
  toFile,
  type UploadQuery,
  validatorsOf,
} from "../store/schema.ts";
import { callCatalogue, catalogueOf } from "../store/shards.ts";
import { readSize, rejectContentCoding, rejectTransferEncoding } from "../store/upload-headers.ts";
import { checkRules, limitsOf } from "../store/upload-rules.ts";
import { startTask, taskLink } from "../store/upload-task.ts";
import {
  checkBoundTask,
  checkChosenId,
  grantRefused,
  newIdFor,
  notYours,
  originColumns,
  originOf,
  type Uploader,
} from "../store/uploader.ts";
import { type FilePart, readForm } from "./form.ts";
import { rejectPieces } from "./whole.ts";

/** A file whose bytes are in R2, with its metadata; not visible yet. */
interface WrittenFile extends StoredBlob {
  hold?: Hold | undefined;
  filename: string;
  contentType: string;
}

export interface FormResult {
  files: (StoredFile & { field: string })[];
  fields: { name: string; value: string }[];
}

interface FormRules {
  /** Throws a `Problem` if the route does not accept such a file; `count` is how many came before it. */
  checkFile: (field: string, count: number) => void;
  checkField: (name: string) => void;
  /** Throws a `Problem` if the number of files is wrong. */
  checkCount: (count: number) => void;
}

/** Stores the files of a form. If anything in the form is invalid, even after the last file, none is kept. */
export async function uploadForm(
  env: Env,
  request: Request,
  query: UploadQuery,
  rules: FormRules,
  uploader: Uploader,
): Promise<FormResult> {
  const { terms } = uploader;
  checkBoundTask(uploader, query.task);
  const maxLength = readSize(request.headers, "Content-Length");
  const files: (WrittenFile & { field: string })[] = [];
  let hasBegun = false;
  let fields: FormResult["fields"] = [];
  const onFile = async ({ field, filename: sent, contentType: sentType, chunks }: FilePart) => {
    // A browser sends an input that was left empty as a file without name and bytes. It is not a file, in any field.
    if (sent === "" && (await isEmpty(chunks))) return;
    const filename = cleanFilename(sent);
    rules.checkFile(field, files.length);
    if (filename === "") throw withoutName(field, sentType);
    checkFilename(filename);
    hasBegun = true;
    const contentType = cleanMediaType(sentType);
    const id = newIdFor(uploader, files[0]?.id);
    const limits = limitsOf(env, id, terms);
    const by = checkRules(limits, terms, { filename, contentType, size: null });
    if (terms && files.length >= terms.files) throw grantRefused("used-up");
    const hold = await holdFor(limits, query.task);
    const limited = limitSize(chunks, limits.maxUnknownBytes, limits.by);
    const fit = by === null ? undefined : { contentType, by };
    const { owner } = uploader;
    const incoming = { id, chunks: limited, owner, length: null, maxLength, expected: [], fit };
    const written = await writeBlob(env, incoming);
    files.push({ ...written, filename, contentType, field, hold });
  };
  try {
    fields = await readForm(request, { onFile, onField: rules.checkField });
    rules.checkCount(files.length);
  } catch (error) {
    await Promise.all(files.map((file) => discardBlob(env, file)));
    throw hasBegun ? addNothingWasKept(error) : error;
  }
  const committed = await commitFiles(env, files, query, NO_PRECONDITIONS, uploader);
  const stored = await toStoredFiles(committed, request.url, query);
  return { files: stored.map((file, i) => ({ field: files[i]?.field ?? "", ...file })), fields };
}

async function isEmpty(chunks: AsyncIterable<Uint8Array>): Promise<boolean> {
  for await (const chunk of chunks) {
    if (chunk.length > 0) return false;
  }
  return true;
}

function withoutName(field: string, contentType: string): Problem {
  const detail =
    `The file in the field ${JSON.stringify(field)} has no name: give it a filename, or if it is a field, a type that ` +
    `is text, which ${JSON.stringify(contentType)} is not.`;
  return new Problem("invalid", detail, { errors: [{ at: "form", detail }] });
}

/** Stores the body of a PUT under the id. If the request is invalid, throws a `Problem` and changes nothing. */
export async function uploadBody(
  env: Env,
  request: Request,
  id: string,
  query: UploadQuery,
  uploader: Uploader,
) {
  const { headers } = request;
  checkChosenId(uploader, id);
  checkBoundTask(uploader, query.task);
  checkPutHeaders(headers);
  const length = readSize(headers, "Content-Length");
  const { terms } = uploader;
  const contentType = cleanMediaType(headers.get("Content-Type"));
  const filename = cleanFilename(readFilename(headers) ?? "") || id;
  checkFilename(filename);
  const limits = limitsOf(env, id, terms);
  const by = checkRules(limits, terms, { filename, contentType, size: length });
  const hold = await holdFor(limits, query.task);
  const expected = readContentDigests(headers);
  const preconditions = readPreconditions(headers);
  const { bounds } = uploader;
  if (bounds || hasPreconditions(preconditions)) await checkReplaced(env, id, preconditions, bounds);
  const max = length === null ? limits.maxUnknownBytes : limits.maxBytes;
  const chunks = limitSize(readChunks(request.body), max, limits.by);
  const fit = by === null ? undefined : { contentType, by };
  const written = await writeBlob(env, { id, chunks, owner: uploader.owner, length, expected, fit });
  const file = { ...written, filename, contentType, hold };
  const committed = await commitFiles(env, [file], query, preconditions, uploader);
  const [row] = committed.rows;
  const [stored] = await toStoredFiles(committed, request.url, query);
  if (!row || !stored) throw new Error("the committed file is missing");
  return { is: committed.is, etag: etagOf(row), file: stored };
}

/** Makes files visible in one step, or discards their bytes and throws. Their ids must belong to one shard. */
async function commitFiles(
  env: Env,
  files: WrittenFile[],
  query: UploadQuery,
  preconditions: Preconditions,
  uploader: Uploader,
) {
  const [first] = files;
  if (!first) return { is: "created" as const, rows: [] };
  const origin = originOf(uploader);
  const newFiles = files.map((file) => Object.assign(toNewFile(file, query), originColumns(origin)));
  const grant = origin.grant ?? undefined;
  // If every try fails, we cannot tell whether the files were committed. The catalogue then collects what was not.
  const result: CommitResult = await callCatalogue(async () =>
    catalogueOf(env, first.id).commit(newFiles, preconditions, grant, first.hold, uploader.bounds),
  );
  if ("rows" in result) return result;
  await Promise.all(files.map((file) => discardBlob(env, file)));
  if (result.is === "refused") throw grantRefused(result.refusal);
  if (result.is === "out-of-bounds") throw notYours(first.id);
  if (result.is === "precondition-failed") throw preconditionFailed(first.id);
  throw new Problem("conflict", "The upload took too long, and its bytes have been discarded.");
}

function toNewFile(
  { id, blob, filename, contentType, size, sha256 }: WrittenFile,
  { expires_in }: UploadQuery,
): NewFile {
  const expires_at_ms = expiryIn(expires_in);
  return { id, blob, filename, content_type: contentType, size, sha256, expires_at_ms };
}

/**
 * Before the body is read, so that a file which may not be replaced, or a failed precondition, costs no upload. The commit
 * evaluates both again.
 */
async function checkReplaced(
  env: Env,
  id: string,
  preconditions: Preconditions,
  bounds: Bounds | undefined,
): Promise<void> {
  const row = await callCatalogue(async () => catalogueOf(env, id).find(id));
  if (row && !isWithin(bounds, row)) throw notYours(id);
  if (evaluatePreconditions(preconditions, row && validatorsOf(row), false) === "failed")
    throw preconditionFailed(id);
}

/** Of files that are held, the task is the one that checks them. */
async function toStoredFiles(
  result: Extract<CommitResult, { rows: FileRow[] }>,
  base: string,
  query: UploadQuery,
): Promise<StoredFile[]> {
  const { rows } = result;
  if (result.is !== "held") return Promise.all(rows.map((row) => toStoredFile(row, base, query)));
  return rows.map((row, i) => {
    const held = { ...toFile(row, base), isHeld: true };
    const check = result.checks[i];
    return typeof check === "string" ? { ...held, task: taskLink(check, base) } : held;
  });
}

async function toStoredFile(row: FileRow, base: string, { task }: UploadQuery): Promise<StoredFile> {
  const file = toFile(row, base);
  const taskId = task === undefined ? null : await startTask(task, row.id, row.blob);
  return taskId === null ? file : { ...file, task: taskLink(taskId, base) };
}

/** The same problem, with a detail that also says what became of the files before it. */
function addNothingWasKept(error: unknown): Problem {
  if (error instanceof Problem) {
    return new Problem(error.kind, `${error.detail} Nothing of the form was kept.`, error.options);
  }
  return new Problem("internal", "Something went wrong here. Nothing of the form was kept.", {
    cause: error,
  });
}

function checkPutHeaders(headers: Headers): void {
  rejectPieces(headers);
  rejectContentCoding(headers);
  rejectTransferEncoding(headers);
  // As curl sends it for `-X PUT -F`: whoever sends a form does not mean its boundaries to become part of the file.
  if (essenceOf(headers.get("Content-Type") ?? "") === "multipart/form-data") {
    throw new Problem(
      "unsupported-media",
      "A PUT stores its body as it is; to send a form, POST it to /files.",
    );
  }
}
