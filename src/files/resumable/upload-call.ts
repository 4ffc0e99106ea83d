/**
 * A request to /uploads, as both protocols see it: what it says, and what it can have done. The protocols read and
 * write headers; everything else is here.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";
import { NO_CONDITIONS } from "../store/conditions.ts";
import type { Expected } from "../store/digests.ts";
import { taskLink, taskNotStarted } from "../store/follow-up.ts";
import { readSize } from "../store/headers.ts";
import { etagOf, fileUrl } from "../store/schema.ts";
import { readFileSettings } from "../store/settings.ts";
import { catalogueOf } from "../store/shards.ts";
import { findPieces } from "./assembly.ts";
import { makeSpec, type Plan, type Said, uploadIdSchema } from "./spec.ts";
import type { Outcome, Snapshot } from "./view.ts";

/** How one protocol reads requests and writes answers. Each throws a `Problem` at what it refuses. */
export interface Protocol {
  create(call: UploadCall): Promise<Response>;
  /** Throws if the request cannot be a look at an upload (`HEAD`), or its removal (`DELETE`). */
  check(call: UploadCall): void;
  describe(call: UploadCall, now: Snapshot): Headers;
  append(call: UploadCall, id: string): Promise<Response>;
  /** Whether removing a complete upload removes the file that it has become. */
  removesFile: boolean;
}

/** What a request adds to an upload. */
export interface Chunk {
  offset: number;
  /** What it says that the whole is. */
  length: number | null;
  isLast: boolean;
  /** As many bytes as it says end the upload. */
  endsAtLength: boolean;
  checksum: Expected | null;
}

/** How long a final upload's creator waits for it to be put together; after that it goes on by itself. */
const ASSEMBLY_WAIT_MS = 25_000;

export class UploadCall {
  readonly headers: Headers;
  readonly query: Record<string, string>;
  /** Of the body, in bytes; null if it is not known beforehand. */
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

  /** Begins an upload, and adds the chunk to it. One that does not get so far is taken away again. */
  async begin(said: Omit<Said, "headers">, plan: Plan, chunk: Chunk | null): Promise<Outcome> {
    const spec = await makeSpec({ ...said, headers: this.headers }, plan);
    const now = await this.#session(spec.id).create(spec);
    if (plan.kind === "final") return this.#assemble(now);
    if (!chunk) return { is: "taken", now };
    let isBegun = false;
    try {
      const outcome = await this.#append(spec.id, chunk);
      isBegun = outcome.is === "taken";
      return checkTask(outcome);
    } finally {
      // Nobody has been told its URL.
      if (!isBegun) await this.#session(spec.id).terminate();
    }
  }

  /** Adds the body to the upload. Throws a `Problem` 404 if there is none. */
  async append(id: string, chunk: Chunk): Promise<Outcome> {
    return checkTask(await this.#append(id, chunk));
  }

  async #append(id: string, chunk: Chunk): Promise<Outcome> {
    const addition = {
      ...chunk,
      contentLength: this.contentLength,
      maxUnknownLength: this.maxUnknownBytes,
    };
    const appended = this.#session(id).append(addition, this.#request.body);
    // Also when the client goes away: what has come is still kept.
    this.#ctx.waitUntil(Promise.allSettled([appended]));
    return (await appended) ?? gone(id);
  }

  async status(id: string): Promise<Snapshot> {
    return (await this.#session(id).status()) ?? gone(id);
  }

  /** Ends an upload. `removesFile`: and removes the file that it has become, if that is still the same. */
  async remove(id: string, removesFile: boolean): Promise<void> {
    const before = await this.status(id);
    // First, so that it can be repeated.
    if (removesFile) await this.#removeFile(before);
    const last = await this.#session(id).terminate();
    // It may have been completed in between.
    if (removesFile && last && before.sha256 === null) await this.#removeFile(last);
  }

  async #removeFile({ id, sha256 }: Snapshot): Promise<void> {
    if (sha256 === null) return;
    await catalogueOf(this.#env, id).remove(id, { ...NO_CONDITIONS, ifMatch: etagOf({ sha256 }) });
  }

  /** How long the pieces are together. Throws a `Problem` if one is none, or not complete. */
  async sumOf(ids: string[]): Promise<number> {
    const pieces = await findPieces(this.#env, ids);
    let sum = 0;
    for (const [i, piece] of pieces.entries()) {
      if (!piece) throw new Problem("malformed", `There is no partial upload ${ids[i]}.`);
      if (!piece.isWhole) throw new Problem("conflict", `The partial upload ${ids[i]} is not complete.`);
      sum += piece.size;
    }
    return sum;
  }

  urlOf(id: string): string {
    return new URL(`/uploads/${id}`, this.#request.url).href;
  }

  /** The id in an upload's URL, absolute or relative to that of this request. Throws a `Problem` 400. */
  readonly idOf = (url: string): string => {
    const path = URL.canParse(url, this.#request.url) ? new URL(url, this.#request.url).pathname : "";
    const id = path.slice(path.lastIndexOf("/") + 1);
    if (uploadIdSchema.safeParse(id).success) return id;
    throw new Problem("malformed", "There is something that is not the URL of an upload.");
  };

  /** Where the file is, and the task that it has started, once the upload is complete. */
  resultHeaders({ id, kind, phase, taskId }: Snapshot): Record<string, string> {
    if (phase !== "complete" || kind === "partial") return {};
    const headers: Record<string, string> = { "Content-Location": fileUrl(id, this.#request.url) };
    // RFC 5989 §5: a resource that tells of changes, here of the file's processing.
    if (taskId !== null) headers.Link = `<${taskLink(taskId, this.#request.url).url}>; rel="monitor"`;
    return headers;
  }

  async #assemble(now: Snapshot): Promise<Outcome> {
    const assembled = this.#session(now.id).assemble();
    this.#ctx.waitUntil(Promise.allSettled([assembled]));
    try {
      const outcome = await Promise.race([assembled, scheduler.wait(ASSEMBLY_WAIT_MS)]);
      if (outcome) return checkTask(outcome);
    } catch (error) {
      if (error instanceof Problem) throw error;
      log("error", "a final upload is not put together yet: the alarm goes on", errorFields(error));
    }
    // It goes on, or has turned out to be impossible.
    const current = await this.#session(now.id).status();
    if (current) return { is: "taken", now: current };
    throw new Problem("conflict", "A part of the upload is gone, and nothing was made of the others.");
  }

  /** What the upload has become, as JSON. */
  resultOf(now: Snapshot) {
    const { id, filename, contentType, offset, sha256, taskId } = now;
    const base = this.#request.url;
    const file = { filename, id, url: fileUrl(id, base), size: offset, contentType, sha256 };
    return taskId === null ? file : { ...file, task: taskLink(taskId, base) };
  }

  #session(id: string) {
    return this.#env.UPLOAD_SESSION.getByName(id);
  }
}

/** Throws a `Problem` 503 if all is well but for the task. */
function checkTask(outcome: Outcome): Outcome {
  if (outcome.is === "taken" && outcome.taskFailed) throw taskNotStarted(outcome.now.id);
  return outcome;
}

export type Refused = Exclude<Outcome, { is: "taken" }>;

/** What either protocol refuses in the same way. */
export function commonRefusal(
  why: "final" | "too-large" | "interrupted" | "preempted",
  headers: Record<string, string>,
): Problem {
  switch (why) {
    case "final":
      return new Problem("forbidden", "This upload is made of others, and takes no bytes of its own.", {
        headers,
      });
    case "too-large": {
      const detail = "An upload whose length was not known at first cannot be so long.";
      return new Problem("too-large", detail, { headers });
    }
    case "interrupted":
      return new Problem("client-gone", "The body broke off.", { headers });
    case "preempted":
      return new Problem("conflict", "Another request has taken over this upload.", { headers });
  }
}

/**
 * An upload that is complete, and is sent nothing at its end: the answer to its last bytes was lost, or the client's
 * word that it was all comes after them. It can be answered again.
 */
export function completedBefore(call: UploadCall, outcome: Refused, offset: number): Snapshot | undefined {
  if (outcome.is !== "refused" || outcome.why !== "complete") return undefined;
  return call.contentLength === 0 && offset === outcome.now.offset ? outcome.now : undefined;
}

function gone(id: string): never {
  throw new Problem("not-found", `There is no upload ${id}: it never was, is removed, or has expired.`);
}
