/**
 * A file that the code of this Worker writes piece by piece, over several runs of a task: `openDraft`.
 *
 * It is an upload session, named by the id of the file, whose only client is this code. So what was appended is durable, in
 * parts in R2 and a tail in the session's object, and the file becomes visible when it is finished, not before.
 */
import { callObject } from "../../kernel/objects.ts";
import { insufficientStorage } from "../../kernel/quotas.ts";
import { byteLimitsOf } from "../store/byte-quota.ts";
import type { FileInfo } from "../store/file-info.ts";
import { describeFile, type FileSpec } from "../store/save-file.ts";
import { readFileSettings } from "../store/settings.ts";
import { catalogueUnavailable, sessionOf } from "../store/shards.ts";
import type { UploadSpec } from "./session-storage.ts";
import type { Outcome, Snapshot } from "./snapshot.ts";

export interface Draft {
  /** How many bytes are durable. */
  readonly offset: number;
  /** The file that it has become; undefined until it is finished. */
  readonly file: FileInfo | undefined;
  /**
   * Appends bytes, which are durable when this resolves. One call at a time. Each costs two to four rows and a request, so
   * append some megabytes at once; they are sent in messages of 8 MiB.
   */
  append(bytes: Uint8Array): Promise<void>;
  /** Makes it a file, in place of what had its id. May be repeated. */
  finish(): Promise<FileInfo>;
  /** Ends it, and removes what was appended. A file that it has become stays. */
  discard(): Promise<void>;
}

/** In bytes. A message to an object may have 32 MiB. */
const MAX_MESSAGE = 8 * 1024 * 1024;
/** It may have to read everything back, to compute its hash. */
const FINISH_DEADLINE_MS = 600_000;
/** The pause while the hash of a long draft is computed anew. */
const BUSY_PAUSE_MS = 2_000;

/**
 * Opens the draft of a file. Under the same id and `task` it is the same draft, however often that is opened, until it is
 * discarded, or a day after the last bytes, or six days after its begin; until then it also tells the file that it has become.
 * Opening it for another task ends it. Throws as `saveFile` does; its calls throw an `Error` once it has ended.
 */
export async function openDraft(env: Env, spec: FileSpec): Promise<Draft> {
  const uploadSpec = toUploadSpec(env, spec);
  const snapshot = await callSession(async () => sessionOf(env, spec.id).openDraft(uploadSpec));
  return new SessionDraft(env, spec, snapshot);
}

/** Ends the draft that a task has of a file, as `discard` does, without opening it. Nothing happens if there is none. */
export async function discardDraft(env: Env, id: string, task: string): Promise<void> {
  await callSession(async () => sessionOf(env, id).discardDraft(task));
}

/** Throws a `Problem` 503 if the session does not respond. It may have to wait for R2, or for memory. */
async function callSession<T>(call: () => Promise<T>, deadlineMs = 60_000): Promise<T> {
  try {
    return await callObject(call, { deadlineMs });
  } catch (error) {
    throw catalogueUnavailable(error);
  }
}

class SessionDraft implements Draft {
  readonly #env: Env;
  readonly #spec: FileSpec;
  #state: Snapshot;

  constructor(env: Env, spec: FileSpec, state: Snapshot) {
    this.#env = env;
    this.#spec = spec;
    this.#state = state;
  }

  get offset(): number {
    return this.#state.offset;
  }

  get file(): FileInfo | undefined {
    const { id, filename, contentType, offset: size, sha256, phase } = this.#state;
    if (phase !== "complete" || sha256 === null) return undefined;
    const { source = null, task = null } = this.#spec;
    return { id, filename, contentType, size, sha256, source, task };
  }

  async append(bytes: Uint8Array): Promise<void> {
    const { maxUnknownBytes } = readFileSettings(this.#env);
    for (let at = 0; at < bytes.length; at += MAX_MESSAGE) {
      const piece = bytes.slice(at, at + MAX_MESSAGE);
      const { offset } = this;
      const call = async () => this.#session().appendDraft(this.#owner, offset, piece, maxUnknownBytes);
      this.#note(await callSession(call), offset + piece.length);
    }
  }

  async finish(): Promise<FileInfo> {
    for (;;) {
      const finish = async () => this.#session().finishDraft(this.#owner, this.offset);
      const outcome = await callSession(finish, FINISH_DEADLINE_MS);
      if (outcome !== "busy") {
        this.#note(outcome, this.offset);
        if (this.file) return this.file;
      }
      await scheduler.wait(BUSY_PAUSE_MS);
    }
  }

  async discard(): Promise<void> {
    await callSession(async () => this.#session().discardDraft(this.#owner));
  }

  /** A call that was repeated because its reply was lost is rejected, with the state that it has led to itself. */
  #note(outcome: Outcome | undefined, offset: number): void {
    if (outcome?.is === "over-quota") throw insufficientStorage(outcome.excess);
    if (outcome && "upload" in outcome && outcome.upload.offset === offset) this.#state = outcome.upload;
    else throw new Error(`The draft of the file ${this.#spec.id} cannot go on: ${reasonOf(outcome)}.`);
  }

  /** A fresh stub for each try. */
  #session() {
    return sessionOf(this.#env, this.#spec.id);
  }

  get #owner(): string | null {
    return this.#spec.task ?? null;
  }
}

function reasonOf(outcome: Outcome | undefined): string {
  if (outcome?.is !== "rejected") return "it was discarded, has expired, or was opened by another task";
  return outcome.reason === "too-large"
    ? "it would be longer than a file may be"
    : "other code has written to it";
}

function toUploadSpec(env: Env, spec: FileSpec): UploadSpec {
  const { id, filename, content_type, source, source_task } = describeFile(spec);
  const byteLimits = byteLimitsOf(env, null);
  return {
    id,
    filename,
    contentType: content_type,
    expiresIn: spec.expiresInSeconds ?? null,
    source,
    sourceTask: source_task,
    ...(byteLimits && { byteLimits }),
    protocol: "ietf",
    kind: "whole",
    length: null,
    endsAtLength: false,
    task: null,
    expected: null,
    metadata: null,
    concat: null,
    sources: [],
  };
}
