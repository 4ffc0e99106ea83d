/**
 * A request to /uploads as both protocols see it: what it says, and what it can do. The protocols read and write
 * headers; everything else is here.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import type { ExpectedDigest } from "../store/digests.ts";
import { NO_PRECONDITIONS } from "../store/preconditions.ts";
import { etagOf, fileUrl } from "../store/schema.ts";
import { readFileSettings } from "../store/settings.ts";
import { catalogueOf } from "../store/shards.ts";
import { readSize } from "../store/upload-headers.ts";
import { taskLink, taskNotStarted } from "../store/upload-task.ts";
import { findPartials } from "./concatenation.ts";
import type { Outcome, Snapshot } from "./snapshot.ts";
import { createSpec, type FileDescription, type ProtocolFields, uploadIdSchema } from "./upload-spec.ts";

/** The bytes that a request appends. */
export interface Chunk {
  offset: number;
  /** The length of the whole upload, if the request says it. */
  length: number | null;
  isLast: boolean;
  /** The byte at `length` completes the upload. */
  endsAtLength: boolean;
  checksum: ExpectedDigest | null;
}

/** How long the creator of a final upload waits for its concatenation, which then continues in the background. */
const CONCATENATION_WAIT_MS = 25_000;

export class UploadRequest {
  readonly headers: Headers;
  readonly query: Record<string, string>;
  /** Of the body, in bytes; null if it is unknown. */
  readonly contentLength: number | null;
  readonly maxBytes: number;
  readonly maxUnknownBytes: number;
  readonly #env: Env;
  readonly #ctx: Pick<ExecutionContext, "waitUntil">;
  readonly #request: Request;

  constructor(env: Env, ctx: Pick<ExecutionContext, "waitUntil">, request: Request) {
    const { maxBytes, maxUnknownBytes } = readFileSettings(env);
    this.maxBytes = maxBytes;
    this.maxUnknownBytes = maxUnknownBytes;
    this.headers = request.headers;
    this.query = Object.fromEntries(new URL(request.url).searchParams);
    this.contentLength = request.body === null ? 0 : readSize(request.headers, "Content-Length");
    this.#env = env;
    this.#ctx = ctx;
    this.#request = request;
  }

  /** Creates an upload and appends the chunk to it. If the chunk is rejected, the upload is removed again. */
  async create(
    description: Omit<FileDescription, "headers">,
    fields: ProtocolFields,
    chunk: Chunk | null,
  ): Promise<Outcome> {
    const spec = await createSpec({ ...description, headers: this.headers }, fields);
    const upload = await this.#session(spec.id).create(spec);
    if (fields.kind === "final") return this.#concatenate(upload);
    if (!chunk) return { is: "accepted", upload };
    let isAccepted = false;
    try {
      const outcome = await this.#append(spec.id, chunk);
      isAccepted = outcome.is === "accepted";
      return checkTask(outcome);
    } finally {
      // No client knows its URL.
      if (!isAccepted) await this.#session(spec.id).terminate();
    }
  }

  /** Appends the body to the upload. Throws a `Problem` 404 if there is no such upload. */
  async append(id: string, chunk: Chunk): Promise<Outcome> {
    return checkTask(await this.#append(id, chunk));
  }

  async #append(id: string, chunk: Chunk): Promise<Outcome> {
    const append = {
      ...chunk,
      contentLength: this.contentLength,
      maxUnknownLength: this.maxUnknownBytes,
    };
    const appended = this.#session(id).append(append, this.#request.body);
    // If the client disconnects, what has arrived must still be stored.
    this.#ctx.waitUntil(Promise.allSettled([appended]));
    return (await appended) ?? throwNotFound(id);
  }

  async status(id: string): Promise<Snapshot> {
    return (await this.#session(id).status()) ?? throwNotFound(id);
  }

  /** Ends an upload. With `removesFile`, also removes the file that it became, if that was not replaced since. */
  async remove(id: string, removesFile: boolean): Promise<void> {
    const before = await this.status(id);
    // The file first, so that the request can be repeated.
    if (removesFile) await this.#removeFile(before);
    const last = await this.#session(id).terminate();
    // It may have been completed in between.
    if (removesFile && last && before.sha256 === null) await this.#removeFile(last);
  }

  async #removeFile({ id, sha256, blob }: Snapshot): Promise<void> {
    if (sha256 === null) return;
    await catalogueOf(this.#env, id).remove(id, { ...NO_PRECONDITIONS, ifMatch: etagOf({ blob }) });
  }

  /** The length of the partial uploads together. Throws a `Problem` if one does not exist or is not complete. */
  async totalSizeOf(ids: string[]): Promise<number> {
    const partials = await findPartials(this.#env, ids);
    let total = 0;
    for (const [i, partial] of partials.entries()) {
      if (!partial) throw new Problem("malformed", `There is no partial upload ${ids[i]}.`);
      if (!partial.isComplete) throw new Problem("conflict", `The partial upload ${ids[i]} is not complete.`);
      total += partial.size;
    }
    return total;
  }

  urlOf(id: string): string {
    return new URL(`/uploads/${id}`, this.#request.url).href;
  }

  /** The id in an upload's URL, which is absolute or relative to the URL of this request. Throws a `Problem` 400. */
  readonly idOf = (url: string): string => {
    const path = URL.canParse(url, this.#request.url) ? new URL(url, this.#request.url).pathname : "";
    const id = path.slice(path.lastIndexOf("/") + 1);
    if (uploadIdSchema.safeParse(id).success) return id;
    throw new Problem("malformed", "Upload-Concat has something that is not the URL of an upload.");
  };

  /** Where the file is, and the task that was started for it, once the upload is complete. */
  resultHeaders({ id, kind, phase, taskId }: Snapshot): Record<string, string> {
    if (phase !== "complete" || kind === "partial") return {};
    const headers: Record<string, string> = { "Content-Location": fileUrl(id, this.#request.url) };
    // RFC 5989 §5: a resource that reports changes, here the progress of the task.
    if (taskId !== null) headers.Link = `<${taskLink(taskId, this.#request.url).url}>; rel="monitor"`;
    return headers;
  }

  /** The file that the upload became, as JSON. */
  resultOf({ id, filename, contentType, offset, sha256, taskId }: Snapshot) {
    const base = this.#request.url;
    const file = { filename, id, url: fileUrl(id, base), size: offset, contentType, sha256 };
    return taskId === null ? file : { ...file, task: taskLink(taskId, base) };
  }

  async #concatenate(upload: Snapshot): Promise<Outcome> {
    const concatenated = this.#session(upload.id).concatenate();
    this.#ctx.waitUntil(Promise.allSettled([concatenated]));
    try {
      const outcome = await Promise.race([concatenated, scheduler.wait(CONCATENATION_WAIT_MS)]);
      if (outcome) return checkTask(outcome);
    } catch (error) {
      if (error instanceof Problem) throw error;
      log("error", "a final upload is not concatenated yet; the alarm continues", errorFields(error));
    }
    // It continues in the background, or a partial upload is gone.
    const current = await this.#session(upload.id).status();
    if (current) return { is: "accepted", upload: current };
    throw new Problem("conflict", "A partial upload is gone, so the final upload was not created.");
  }

  #session(id: string) {
    return this.#env.UPLOAD_SESSION.getByName(id);
  }
}

/** Throws a `Problem` 503 if the upload is complete but its task could not be started. */
function checkTask(outcome: Outcome): Outcome {
  if (outcome.is === "accepted" && outcome.taskFailed) throw taskNotStarted(outcome.upload.id);
  return outcome;
}

function throwNotFound(id: string): never {
  throw new Problem("not-found", `There is no upload ${id}: it never existed, was removed, or has expired.`);
}
