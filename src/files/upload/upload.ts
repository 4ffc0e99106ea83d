/**
 * Whole files, from requests: the files of a form, or the body of a PUT. A request stores all that it brings, or
 * nothing: its files are made visible once the last byte of it has been read and found to be right.
 */

import { Problem } from "../../kernel/problem.ts";
import { RESTART_PAUSES_MS, retry } from "../../kernel/retry.ts";
import { discardBlob, type StoredBlob, writeBlob } from "../store/blob.ts";
import type { Committed, NewFile } from "../store/catalogue.ts";
import { type Conditions, hasConditions, judge, NO_CONDITIONS, readConditions } from "../store/conditions.ts";
import { contentDigests } from "../store/digests.ts";
import { preconditionFailed, tooLarge } from "../store/errors.ts";
import { startTask, taskLink } from "../store/follow-up.ts";
import { readSize } from "../store/headers.ts";
import { checkFilename, cleanFilename, filenameOf, mediaType } from "../store/names.ts";
import { atMost, readChunks } from "../store/parts.ts";
import {
  etagOf,
  type FileRow,
  type StoredFile,
  toFile,
  type UploadQuery,
  validators,
} from "../store/schema.ts";
import { readFileSettings } from "../store/settings.ts";
import { catalogueOf, newFileId } from "../store/shards.ts";
import { type FilePart, readForm } from "./form.ts";

/** A file whose bytes are in R2, and what is to be known of it. */
interface Ready extends StoredBlob {
  filename: string;
  contentType: string;
}

export interface FormResult {
  files: (StoredFile & { field: string })[];
  fields: { name: string; value: string }[];
}

interface FormRules {
  /** Throws a `Problem` if such a file is not wanted; `before` is how many there were already. */
  checkFile: (field: string, filename: string, before: number) => void;
  checkField: (name: string) => void;
  /** Throws a `Problem` if these are not enough. */
  checkCount: (count: number) => void;
}

/** Stores the files of a form. If anything about the form is wrong, even after them, none of them is kept. */
export async function uploadForm(
  env: Env,
  request: Request,
  query: UploadQuery,
  rules: FormRules,
): Promise<FormResult> {
  const { maxUnknownBytes } = readFileSettings(env);
  const files: (Ready & { field: string })[] = [];
  let isBegun = false;
  const fields: FormResult["fields"] = [];
  const onFile = async ({ field, filename: sent, contentType, chunks }: FilePart) => {
    const filename = cleanFilename(sent);
    rules.checkFile(field, filename, files.length);
    if (filename === "") return checkNothingChosen(chunks);
    checkFilename(filename);
    isBegun = true;
    const id = newFileId(files[0]?.id);
    const incoming = { id, chunks: atMost(chunks, maxUnknownBytes), length: null, expected: [] };
    files.push({ ...(await writeBlob(env, incoming)), filename, contentType: mediaType(contentType), field });
  };
  const onField = (name: string, value: string) => {
    rules.checkField(name);
    fields.push({ name, value });
  };
  try {
    await readForm(request, { onFile, onField });
    rules.checkCount(files.length);
  } catch (error) {
    await Promise.all(files.map((file) => discardBlob(env, file)));
    throw isBegun ? sayingNothingWasKept(error) : error;
  }
  const { rows } = await commitFiles(env, files, query, NO_CONDITIONS);
  const answers = await Promise.all(rows.map((row) => toStoredFile(row, request.url, query)));
  return { files: answers.map((file, i) => ({ field: files[i]?.field ?? "", ...file })), fields };
}

/** A file input that was left empty is sent as a file without a name and without bytes: it is no file. */
async function checkNothingChosen(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue;
    const detail = "A file has no name.";
    throw new Problem("invalid", detail, { errors: [{ at: "form", detail }] });
  }
}

/** Stores the body of a PUT under the id. Throws a `Problem`, and changes nothing, if anything about it is wrong. */
export async function uploadBody(env: Env, request: Request, id: string, query: UploadQuery) {
  const { headers } = request;
  checkPutHeaders(headers);
  const { maxBytes, maxUnknownBytes } = readFileSettings(env);
  const length = readSize(headers, "Content-Length");
  const max = length === null ? maxUnknownBytes : maxBytes;
  if (length !== null && length > max) throw tooLarge(max);
  const expected = contentDigests(headers);
  const filename = cleanFilename(filenameOf(headers) ?? "") || id;
  checkFilename(filename);
  const conditions = readConditions(headers);
  if (hasConditions(conditions)) await checkConditions(env, id, conditions);
  const chunks = atMost(readChunks(request.body), max);
  const blob = await writeBlob(env, { id, chunks, length, expected });
  const contentType = mediaType(headers.get("Content-Type"));
  const { is, rows } = await commitFiles(env, [{ ...blob, filename, contentType }], query, conditions);
  const [row] = rows;
  if (!row) throw new Error("what was committed is not there");
  return { is, etag: etagOf(row), file: await toStoredFile(row, request.url, query) };
}

/** Makes files visible, all in one step; or discards their bytes, and throws. Their ids must be of one shard. */
async function commitFiles(env: Env, files: Ready[], query: UploadQuery, conditions: Conditions) {
  const [first] = files;
  if (!first) return { is: "created" as const, rows: [] };
  const news = files.map((file) => toNewFile(file, query));
  // If this fails for good, nobody knows whether it was committed: then the bytes are left to the catalogue.
  const outcome: Committed = await retry(
    async () => catalogueOf(env, first.id).commit(news, conditions),
    RESTART_PAUSES_MS,
  );
  if ("rows" in outcome) return outcome;
  await Promise.all(files.map((file) => discardBlob(env, file)));
  if (outcome.is === "precondition-failed") throw preconditionFailed(first.id);
  throw new Problem("conflict", "The upload took too long, and what it was to become has been given up.");
}

function toNewFile(
  { id, blob, filename, contentType, size, sha256 }: Ready,
  { expires_in }: UploadQuery,
): NewFile {
  const expires_at_ms = expires_in === undefined ? null : Date.now() + expires_in * 1000;
  return { id, blob, filename, content_type: contentType, size, sha256, expires_at_ms };
}

async function checkConditions(env: Env, id: string, conditions: Conditions): Promise<void> {
  const row = await catalogueOf(env, id).find(id);
  if (judge(conditions, row && validators(row), false) === "failed") throw preconditionFailed(id);
}

async function toStoredFile(row: FileRow, base: string, { task }: UploadQuery): Promise<StoredFile> {
  const file = toFile(row, base);
  const taskId = task === undefined ? null : await startTask(task, row.id, row.blob);
  return taskId === null ? file : { ...file, task: taskLink(taskId, base) };
}

/** The same problem; its detail goes on to say what became of the files that had come before. */
function sayingNothingWasKept(error: unknown): Problem {
  if (error instanceof Problem) {
    return new Problem(error.kind, `${error.detail} Nothing of the form was kept.`, error.options);
  }
  return new Problem("internal", "Something went wrong here. Nothing of the form was kept.", {
    cause: error,
  });
}

function checkPutHeaders(headers: Headers): void {
  if (headers.has("Content-Range")) {
    // RFC 9110 §14.5: a server that does not take part of a file must not take it for the whole.
    throw new Problem("malformed", "A PUT brings the whole file; to send it in pieces, use /uploads.");
  }
  const encoding = headers.get("Content-Encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity") {
    throw new Problem(
      "unsupported-media",
      "Send the file without Content-Encoding: it is stored as it comes.",
      {
        headers: { "Accept-Encoding": "identity" },
      },
    );
  }
}
