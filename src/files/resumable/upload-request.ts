/**
 * A request to /uploads as both protocols see it: what it says, and what it can do. The protocols read and write
 * headers; everything else is here, above all what a request of either must not have.
 */
import { isWithin } from "../../kernel/bounds.ts";
import { isEmptyBody } from "../../kernel/json-body.ts";
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import { insufficientStorage } from "../../kernel/quotas.ts";
import { currentTraceparent } from "../../kernel/trace.ts";
import { byteLimitsOf } from "../store/byte-quota.ts";
import { unfitContent } from "../store/content.ts";
import type { ExpectedDigest } from "../store/digests.ts";
import {
  evaluatePreconditions,
  hasPreconditions,
  NO_PRECONDITIONS,
  readPreconditions,
} from "../store/preconditions.ts";
import { contentTooLarge, preconditionFailed, tooLarge } from "../store/problems.ts";
import { etagOf, fileUrl, validatorsOf } from "../store/schema.ts";
import { readFileSettings } from "../store/settings.ts";
import { callCatalogue, catalogueOf, catalogueUnavailable, sessionOf } from "../store/shards.ts";
import { readSize, rejectContentCoding, rejectTransferEncoding } from "../store/upload-headers.ts";
import { limitsOf, type UploadLimits } from "../store/upload-rules.ts";
import { taskLink, taskNotStarted } from "../store/upload-task.ts";
import { grantRefused, newIdFor, type Origin, type Uploader } from "../store/uploader.ts";
import { relay } from "./relay.ts";
import { checkNoContent, readContentDigests } from "./request-digests.ts";
import type { FinalOutcome, Outcome, ProtocolOutcome, Snapshot } from "./snapshot.ts";
import { createSpec, type FileDescription, type ProtocolFields } from "./upload-spec.ts";

/** The bytes that a request appends. */
export interface Chunk {
  offset: number;
  /** The length of the whole upload, if the request says it. */
  length: number | null;
  isLast: boolean;
  /** The byte at `length` completes the upload. */
  endsAtLength: boolean;
}

/** How long the creator of a final upload waits for its concatenation, which then continues in the background. */
const CONCATENATION_WAIT_MS = 25_000;

export class UploadRequest {
  readonly url: string;
  readonly headers: Headers;
  readonly query: Record<string, string>;
  /** Of the body, in bytes; null if it is unknown. */
  readonly contentLength: number | null;
  readonly maxRequestBytes: number;
  /** Of the upload that it is about, or that it creates. */
  readonly #id: string;
  readonly #limits: UploadLimits;
  readonly #env: Env;
  readonly #ctx: Pick<ExecutionContext, "waitUntil">;
  readonly #request: Request;
  readonly #uploader: Uploader;
  readonly #base: string;

  /** `id`: of the upload; undefined: it creates one. `base`: the URL under which its uploads are. */
  constructor(
    env: Env,
    ctx: Pick<ExecutionContext, "waitUntil">,
    request: Request,
    uploader: Uploader,
    id?: string,
    base = new URL("/uploads", request.url).href,
  ) {
    this.#uploader = uploader;
    this.#base = base;
    this.#id = id ?? newIdFor(uploader);
    this.#limits = limitsOf(env, this.#id, uploader.terms);
    this.maxRequestBytes = readFileSettings(env).maxRequestBytes;
    this.url = request.url;
    this.headers = request.headers;
    this.query = Object.fromEntries(new URL(request.url).searchParams);
    this.contentLength = request.body === null ? 0 : readSize(request.headers, "Content-Length");
    this.#env = env;
    this.#ctx = ctx;
    this.#request = request;
  }

  /** Its sender has no token, and removes no file. */
  get isGranted(): boolean {
    return this.#uploader.terms !== null;
  }

  /** In bytes. */
  get maxBytes(): number {
    return this.#limits.maxBytes;
  }

  /** Throws a `Problem` 413 for the length of an upload, if it is known, that is more than it can have. */
  checkLength(length: number | null): void {
    if (length !== null && length > this.maxBytes) throw this.#tooLarge();
  }

  #tooLarge(): Problem {
    return tooLarge(this.#limits.maxBytes, this.#limits.by);
  }

  /**
   * Throws a `Problem` 413 if it says that it brings more than one request may. The edge rejects more than that: where
   * there is none, as on a developer's machine, it is rejected too, so that a client without a chunk size is noticed.
   */
  checkContentLength(): void {
    if (this.contentLength !== null && this.contentLength > this.maxRequestBytes)
      throw contentTooLarge(this.maxRequestBytes);
  }

  /** Whether it has no bytes, however it is framed. Waits for the first one if it has to. */
  async isEmpty(): Promise<boolean> {
    return isEmptyBody(this.#request);
  }

  /**
   * Creates an upload and appends the chunk to it; null: there is none, because the request has no bytes. If the chunk
   * is rejected, the upload is removed again.
   */
  async create(
    description: Omit<FileDescription, "headers">,
    fields: ProtocolFields,
    chunk: Chunk | null,
  ): Promise<ProtocolOutcome> {
    const digests = this.#checkContent(true);
    if (!chunk) checkNoContent(digests);
    const described = { ...description, headers: this.headers };
    const byteLimits = byteLimitsOf(this.#env, this.#uploader.owner);
    const spec = {
      ...(await createSpec(this.#id, this.#limits, described, fields, this.#uploader)),
      ...(byteLimits && { byteLimits }),
    };
    await this.#checkPartials(spec.sources);
    const begun = await callCatalogue(async () => this.#session(spec.id).create(spec), "once");
    if (begun?.is === "over-quota") throw insufficientStorage(begun.excess);
    if (begun?.is === "accepted") await this.#holdPlace(begun.upload, spec.origin);
    if (fields.kind === "final") return this.#concatenate(spec.id, begun);
    if (!chunk) return this.#checkSources(begun);
    let isAccepted = false;
    try {
      const outcome = await this.#append(spec.id, chunk, digests);
      isAccepted = outcome.is === "accepted";
      return checkTask(outcome);
    } finally {
      // No client knows its URL.
      if (!isAccepted) await this.#terminate(spec.id);
    }
  }

  /** For a bound token, others' partial uploads are as good as missing: throws the same `Problem` 400. */
  async #checkPartials(sources: string[]): Promise<void> {
    await Promise.all(
      sources.map(async (source) => {
        if (!(await this.#isWithinBounds(source))) throw sourceGone(source);
      }),
    );
  }

  /** Throws a `Problem` 404 for an upload that is not within the bounds of the caller. Without bounds, costs nothing. */
  async checkBounds(id: string): Promise<void> {
    if (!(await this.#isWithinBounds(id))) throwNotFound(id);
  }

  async #isWithinBounds(id: string): Promise<boolean> {
    const { bounds } = this.#uploader;
    if (!bounds) return true;
    const upload = await this.peek(id);
    return upload !== undefined && isWithin(bounds, upload);
  }

  /** Throws a `Problem` 403 or 409, and ends the upload, if its grant does not allow it. */
  async #holdPlace({ id, blob }: Snapshot, origin: Origin | undefined): Promise<void> {
    const grant = origin?.grant;
    if (!grant) return;
    let isHeld = false;
    try {
      const refusal = await callCatalogue(async () => catalogueOf(this.#env, id).holdPlace(grant, blob));
      if (refusal) throw grantRefused(refusal);
      isHeld = true;
    } finally {
      if (!isHeld) await this.#terminate(id);
    }
  }

  /** Appends the body to the upload. Throws a `Problem` 404 if there is no such upload. */
  async append(id: string, chunk: Chunk): Promise<ProtocolOutcome> {
    return checkTask(await this.#append(id, chunk, this.#checkContent(false)));
  }

  async #append(id: string, chunk: Chunk, digests: ExpectedDigest[]): Promise<Outcome> {
    const append = {
      ...chunk,
      digests,
      contentLength: this.contentLength,
      maxUnknownLength: this.#limits.maxUnknownBytes,
      maxContent: this.maxRequestBytes,
      traceparent: currentTraceparent(),
    };
    const { stream, relayed } = relay(this.#request.body, this.contentLength);
    const appended = this.#session(id).append(append, stream);
    // If the client disconnects, what has arrived must still be stored.
    this.#ctx.waitUntil(Promise.allSettled([appended, relayed]));
    // Not repeated, since the body is gone, and without a deadline, since it comes as slowly as its client sends.
    const outcome = await appended.catch((error: unknown) => {
      throw catalogueUnavailable(error);
    });
    return outcome ?? throwNotFound(id);
  }

  /** Ends an upload of which no client knows. If that fails, it expires. */
  async #terminate(id: string): Promise<void> {
    try {
      await callObject(async () => this.#session(id).terminate());
    } catch (error) {
      log("warn", "an upload that was rejected is not removed yet; it will expire", {
        uploadId: id,
        ...errorFields(error),
      });
    }
  }

  /** The state of the upload. Stops a request that is appending to it. */
  async status(id: string): Promise<Snapshot> {
    return (await callCatalogue(async () => this.#session(id).status())) ?? throwNotFound(id);
  }

  /** The state of the upload as it is stored; a request may be appending to it. Undefined if there is no upload. */
  async peek(id: string): Promise<Snapshot | undefined> {
    return callCatalogue(async () => this.#session(id).peek());
  }

  /**
   * Throws a `Problem` 412 if a precondition (RFC 9110 §13) does not hold for what GET shows: the file, or an upload that
   * is under way, which has no ETag.
   */
  async checkPreconditions(id: string): Promise<void> {
    const preconditions = readPreconditions(this.headers);
    if (!hasPreconditions(preconditions)) return;
    const row = await callCatalogue(async () => catalogueOf(this.#env, id).find(id));
    const current = row ? validatorsOf(row) : { etag: "", datedAtMs: Date.now() };
    if (evaluatePreconditions(preconditions, current, false) === "failed") throw preconditionFailed(id);
  }

  /** Ends an upload. With `removesFile`, also removes the file that it became, if that was not replaced since. */
  async remove(id: string, removesFile: boolean): Promise<void> {
    const before = await this.status(id);
    // The file first, so that the request can be repeated.
    if (removesFile) await this.#removeFile(before);
    const last = await callCatalogue(async () => this.#session(id).terminate(), "once");
    // It may have been completed in between.
    if (removesFile && last && before.sha256 === null) await this.#removeFile(last);
  }

  async #removeFile({ id, sha256, blob }: Snapshot): Promise<void> {
    if (sha256 === null) return;
    const onlyThis = { ...NO_PRECONDITIONS, ifMatch: etagOf({ blob }) };
    await callCatalogue(async () => catalogueOf(this.#env, id).remove(id, onlyThis), "once");
  }

  urlOf(id: string): string {
    return `${this.#base}/${id}`;
  }

  /** Where the file is, and the task that was started for it, once the upload is complete. */
  resultHeaders({ id, kind, phase, taskId }: Snapshot): Record<string, string> {
    if (phase !== "complete" || kind === "partial") return {};
    const headers: Record<string, string> = { "Content-Location": fileUrl(id, this.url) };
    // RFC 5989 §5: a resource that reports changes, here the progress of the task.
    if (taskId !== null) headers.Link = `<${taskLink(taskId, this.url).url}>; rel="monitor"`;
    return headers;
  }

  /** The file that the upload became, as JSON. */
  resultOf({ id, filename, contentType, offset, sha256, taskId }: Snapshot) {
    const file = { filename, id, url: fileUrl(id, this.url), size: offset, contentType, sha256 };
    return taskId === null ? file : { ...file, task: taskLink(taskId, this.url) };
  }

  /** What no request with bytes may have, in either protocol. Returns the digests that the bytes must have. */
  #checkContent(isCreation: boolean): ExpectedDigest[] {
    rejectContentCoding(this.headers, "bytes");
    rejectTransferEncoding(this.headers);
    if (this.headers.has("Content-Range")) {
      throw new Problem("malformed", "Content-Range has no meaning here; Upload-Offset says where bytes go.");
    }
    return readContentDigests(this.headers, isCreation);
  }

  async #concatenate(id: string, begun: FinalOutcome | undefined): Promise<ProtocolOutcome> {
    const { upload } = this.#checkSources(begun);
    if (upload.length !== null && upload.length > this.maxBytes) {
      await this.#terminate(id);
      throw this.#tooLarge();
    }
    if (upload.isWaiting) return { is: "accepted", upload };
    const concatenated = this.#session(id).concatenate();
    this.#ctx.waitUntil(Promise.allSettled([concatenated]));
    try {
      const outcome = await Promise.race([concatenated, scheduler.wait(CONCATENATION_WAIT_MS)]);
      if (outcome?.is === "accepted") return checkTask(outcome);
      if (outcome?.is === "wrong-digest") return outcome;
      if (outcome) return this.#checkSources(outcome);
    } catch (error) {
      if (error instanceof Problem) throw error;
      log("error", "a final upload is not concatenated yet; the alarm continues", errorFields(error));
    }
    // It continues in the background.
    return this.#checkSources(await this.#current(id));
  }

  async #current(id: string): Promise<Outcome | undefined> {
    const upload = await this.peek(id);
    return upload && { is: "accepted", upload };
  }

  /** Throws a `Problem` if a final upload cannot be made of its partials. */
  #checkSources(outcome: FinalOutcome | undefined): Extract<Outcome, { is: "accepted" }> {
    if (outcome?.is === "accepted") return outcome;
    if (outcome?.is === "gone") {
      throw sourceGone(outcome.source);
    }
    if (outcome?.is === "unfit") throw unfitContent(outcome.why, outcome.by);
    if (outcome?.is === "over-quota") throw insufficientStorage(outcome.excess);
    if (outcome?.is === "rejected" && outcome.reason === "too-large") throw this.#tooLarge();
    throw new Problem("conflict", "The final upload was removed before it was complete.");
  }

  #session(id: string) {
    return sessionOf(this.#env, id);
  }
}

const sourceGone = (id: string) =>
  new Problem("malformed", `There is no partial upload ${id}, or its bytes are gone.`);

/** Throws a `Problem` 503 if the upload is complete but its task could not be started, and 403, 409, 415 or 507 if it is refused. */
function checkTask(outcome: Outcome): ProtocolOutcome {
  if (outcome.is === "refused") throw grantRefused(outcome.refusal);
  if (outcome.is === "over-quota") throw insufficientStorage(outcome.excess);
  if (outcome.is === "unfit") throw unfitContent(outcome.why, outcome.by);
  if (outcome.is === "accepted" && outcome.taskFailed) throw taskNotStarted(outcome.upload.id);
  return outcome;
}

export function throwNotFound(id: string): never {
  throw new Problem("not-found", `There is no upload ${id}: it never existed, was removed, or has expired.`);
}
