/**
 * What an upload session does for a draft: an upload that the code of this Worker writes (draft.ts), and no client. It
 * belongs to the task that opened it last. So the runs of one task go on with the same draft, and of two tasks that write the
 * same file the later one wins, and the earlier one is told.
 */
import { hasExpired } from "./append-rules.ts";
import { StillReadingBack } from "./complete-upload.ts";
import type { PreemptiveLock } from "./preemptive-lock.ts";
import type { HashMemory } from "./running-hash.ts";
import { newRecord, type SessionRecord, type SessionStorage, type UploadSpec } from "./session-storage.ts";
import { type Outcome, type Snapshot, toSnapshot } from "./snapshot.ts";

/** What a draft needs of its session. */
interface DraftingSession {
  ctx: DurableObjectState;
  storage: SessionStorage;
  hash: HashMemory;
  lock: PreemptiveLock;
  load: () => SessionRecord | undefined;
  append: (chunk: DraftChunk, body: ReadableStream<Uint8Array> | null) => Promise<Outcome | undefined>;
  end: (record: SessionRecord) => Promise<void>;
}

interface DraftChunk {
  offset: number;
  contentLength: number;
  isLast: boolean;
  maxUnknownLength: number;
}

export class DraftOfSession {
  readonly #session: DraftingSession;

  constructor(session: DraftingSession) {
    this.#session = session;
  }

  /**
   * The draft of this task, also if it is a file by now; else a new one. A draft of another task in its place ends, and a
   * file that it has become stays.
   */
  async open(spec: UploadSpec): Promise<Snapshot> {
    const { ctx, storage, hash, lock, load, end } = this.#session;
    return lock.run(async () => {
      const nowMs = Date.now();
      const current = load();
      if (current && isOf(current, spec.sourceTask) && !hasExpired(current, nowMs))
        return toSnapshot(current);
      if (current) await end(current);
      hash.forget();
      const record = newRecord(spec, nowMs);
      storage.save(record);
      await ctx.storage.setAlarm(record.expiresAtMs);
      return toSnapshot(record);
    });
  }

  /** Appends bytes at an offset; undefined if the draft is no longer this task's. */
  async append(
    owner: string | null,
    offset: number,
    bytes: Uint8Array,
    maxUnknownLength: number,
  ): Promise<Outcome | undefined> {
    if (!this.#isOwn(owner)) return undefined;
    const chunk = { offset, contentLength: bytes.length, isLast: false, maxUnknownLength };
    return this.#session.append(chunk, new Response(bytes).body);
  }

  /**
   * Makes the draft a file, if it has this length; undefined if it is no longer this task's. "busy": the hash of a long one
   * is still being computed anew. Ask again.
   */
  async finish(owner: string | null, length: number): Promise<Outcome | "busy" | undefined> {
    if (!this.#isOwn(owner)) return undefined;
    try {
      const chunk = { offset: length, contentLength: 0, isLast: true, maxUnknownLength: length };
      return await this.#session.append(chunk, null);
    } catch (error) {
      if (error instanceof StillReadingBack) return "busy";
      throw error;
    }
  }

  /** Ends the draft, and removes its bytes, if it is this task's; a file that it has become stays. */
  async discard(owner: string | null): Promise<void> {
    const { lock, load, end } = this.#session;
    await lock.run(async () => {
      const record = load();
      if (record && isOf(record, owner)) await end(record);
    });
  }

  #isOwn(owner: string | null): boolean {
    const record = this.#session.load();
    return record !== undefined && isOf(record, owner);
  }
}

/** A record of an earlier version has no task. */
const isOf = ({ sourceTask = null }: SessionRecord, owner: string | null | undefined): boolean =>
  sourceTask === (owner ?? null);
