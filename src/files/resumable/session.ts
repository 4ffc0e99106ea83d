/**
 * One resumable upload: a Durable Object that owns its offset, its parts and its tail.
 *
 * Only one request at a time works on the upload, and the newest has precedence: it stops the one before, which keeps
 * what it has received, and then begins. So a client whose old connection hangs half-open is not locked out by it.
 *
 * When the last byte is stored, the upload is completed: verified, completed in R2, committed to the catalogue, and
 * its task started. Every step can be repeated, so the next request, or the alarm, finishes whatever was interrupted.
 * The alarm also removes abandoned uploads.
 */
import { DurableObject } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import { discardBody, readChunks } from "../store/body.ts";
import type { ExpectedDigest } from "../store/digests.ts";
import { Appender, appendBody } from "./appender.ts";
import { completeInR2, digestOf, discardUpload, openMultipart, publish } from "./completion.ts";
import { type PartialUpload, PartialUploadGone, readPartials, unpinPartials } from "./concatenation.ts";
import { PreemptiveLock } from "./preemptive-lock.ts";
import {
  type AppendRequest,
  admit,
  concludeAppend,
  hasExpired,
  isCompleting,
  pinnedUntilMs,
} from "./rules.ts";
import { newRecord, type SessionRecord, SessionStorage, type UploadSpec } from "./session-storage.ts";
import { type Outcome, type Snapshot, toSnapshot } from "./snapshot.ts";

interface SessionAppend extends AppendRequest {
  /** For the bytes of this request; if they do not match it, none of them is kept. */
  checksum: ExpectedDigest | null;
  /** In the protocol of this request, the byte at `length` completes the upload. */
  endsAtLength: boolean;
  maxUnknownLength: number;
}

/** How long completion and concatenation may take until the alarm checks on them; also how often it does. */
const CHECK_MS = 15_000;
/** The pause after an alarm has failed, because of R2 or the catalogue. */
const ALARM_RETRY_MS = 60_000;

export class UploadSession extends DurableObject<Env> {
  readonly #storage = new SessionStorage(this.ctx.storage);
  readonly #lock = new PreemptiveLock();
  #concatenating: Promise<Outcome | undefined> | undefined;

  /** Begins an upload; the object must be a new one. */
  async create(spec: UploadSpec): Promise<Snapshot> {
    const nowMs = Date.now();
    const record = newRecord(spec, nowMs);
    this.#storage.save(record);
    // A final upload must proceed without another request.
    await this.ctx.storage.setAlarm(spec.kind === "final" ? nowMs + CHECK_MS : record.expiresAtMs);
    return toSnapshot(record);
  }

  /** The state of the upload; undefined if there is none. Stops a request that is appending to it. */
  async status(): Promise<Snapshot | undefined> {
    const record = this.#load();
    // No request appends to a final upload, so there is none to stop.
    if (!record || record.kind === "final") return record && toSnapshot(record);
    return this.#lock.run(async () => {
      const current = await this.#completeAndLoad();
      return current && toSnapshot(current);
    });
  }

  /** Appends bytes. What has arrived when the body breaks off, or when another request takes over, is kept. */
  async append(
    request: SessionAppend,
    body: ReadableStream<Uint8Array> | null,
  ): Promise<Outcome | undefined> {
    const record = this.#load();
    if (record?.kind === "final") {
      await discardBody(body);
      return { is: "rejected", reason: "final", upload: toSnapshot(record) };
    }
    return this.#lock.run(async (stopped) => {
      const current = this.#load();
      const before = current?.phase === "receiving" ? current : await this.#completeAndLoad();
      const admitted = before && admit(before, request, request.maxUnknownLength);
      if (!admitted || "rejection" in admitted) {
        await discardBody(body, stopped);
        const reason = admitted?.rejection ?? "complete";
        return before && { is: "rejected", reason, upload: toSnapshot(before) };
      }
      const { length } = admitted;
      const endsAtLength = before.endsAtLength || request.endsAtLength;
      return this.#append({ ...before, length, endsAtLength }, request, body, stopped);
    });
  }

  /** Builds a final upload from its partials, continuing where it was interrupted. It can be repeated safely. */
  async concatenate(): Promise<Outcome | undefined> {
    this.#concatenating ??= this.#lock
      .run(async (stopped) => this.#concatenate(stopped))
      .finally(() => {
        this.#concatenating = undefined;
      });
    return this.#concatenating;
  }

  /** This partial upload, as a piece of the final upload `holder`; undefined if there is none. */
  async partial(holder?: string): Promise<PartialUpload | undefined> {
    const record = this.#storage.load();
    if (record?.kind !== "partial") return undefined;
    // A removed upload is still there for a final one that pinned it before.
    const untilMs = holder === undefined ? 0 : (record.pins[holder] ?? 0);
    if (record.phase === "ended" && untilMs <= Date.now()) return undefined;
    const isComplete = record.phase === "complete" || record.phase === "ended";
    return { blob: record.blob, size: record.offset, isComplete };
  }

  /**
   * As `partial`, but only if it is complete. Its bytes then stay until `untilMs` or `unpin`, even if the upload is
   * removed or expires before.
   */
  async pin(holder: string, untilMs: number): Promise<PartialUpload | undefined> {
    const partial = await this.partial(holder);
    const record = this.#storage.load();
    if (!record || !partial?.isComplete) return undefined;
    this.#storage.save({ ...record, pins: { ...record.pins, [holder]: untilMs } });
    return partial;
  }

  async unpin(holder: string): Promise<void> {
    const record = this.#storage.load();
    if (!record) return;
    const { [holder]: _, ...pins } = record.pins;
    this.#storage.save({ ...record, pins });
    if (record.phase === "ended") await this.#clear({ ...record, pins });
  }

  /** Ends the upload and removes its bytes; a file that it became stays. Returns its last state, if it existed. */
  async terminate(): Promise<Snapshot | undefined> {
    return this.#lock.run(async () => {
      const record = this.#load();
      if (record) await this.#end(record);
      return record && toSnapshot(record);
    });
  }

  /** Never throws, because the runtime abandons an alarm that fails too often. */
  override async alarm(): Promise<void> {
    try {
      await this.#check();
    } catch (error) {
      log("error", "the alarm of an upload failed; next try in a minute", errorFields(error));
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    }
  }

  async #check(): Promise<void> {
    const record = this.#storage.load();
    if (!record) return;
    if (record.phase === "ended") {
      await this.#clear(record);
    } else if (record.kind === "final" && record.phase !== "complete" && !hasExpired(record, Date.now())) {
      // Not awaited, because a long alarm delays the next one.
      await this.ctx.storage.setAlarm(Date.now() + CHECK_MS);
      this.ctx.waitUntil(this.concatenate().catch(logFailure));
    } else if (!isCompleting(record) && !hasExpired(record, Date.now())) {
      // Without the lock, because taking it would stop a request that is appending.
      await this.ctx.storage.setAlarm(record.expiresAtMs);
    } else {
      await this.#lock.run(async () => this.#endOrComplete());
    }
  }

  async #endOrComplete(): Promise<void> {
    const record = this.#load();
    if (!record) return;
    if (hasExpired(record, Date.now())) await this.#end(record);
    else if (isCompleting(record)) await this.#complete(record);
  }

  async #append(
    record: SessionRecord,
    { checksum, contentLength, isLast, maxUnknownLength }: SessionAppend,
    body: ReadableStream<Uint8Array> | null,
    stopped: AbortSignal,
  ): Promise<Outcome> {
    const appender = this.#appenderFor(record, checksum, contentLength);
    try {
      const maxLength = record.length ?? maxUnknownLength;
      const end = await appendBody(appender, maxLength, readChunks(body, stopped), stopped);
      const { isKept, phase, length, rejection } = concludeAppend(appender.state, end, isLast);
      // A checksum covers all bytes of the request, so an incomplete body cannot be verified.
      const isVerified = !checksum || (rejection === undefined && appender.matchesChecksum());
      if (isKept && isVerified) {
        const committed = await appender.commit({ phase, length });
        if (isCompleting(committed)) return await this.#complete(committed);
      }
      await appender.settle();
      const upload = toSnapshot(this.#load() ?? record);
      if (rejection !== undefined) return { is: "rejected", reason: rejection, upload };
      return isVerified ? { is: "accepted", upload } : { is: "rejected", reason: "wrong-checksum", upload };
    } finally {
      await appender.settle();
    }
  }

  async #concatenate(stopped: AbortSignal): Promise<Outcome | undefined> {
    const record = this.#load();
    if (!record) return undefined;
    if (record.phase === "complete") return { is: "accepted", upload: toSnapshot(record) };
    if (isCompleting(record)) return this.#complete(record);
    await this.ctx.storage.setAlarm(Date.now() + CHECK_MS);
    const appender = this.#appenderFor(record, null, record.length);
    try {
      for await (const chunk of readPartials(this.env, record, stopped)) await appender.append(chunk);
      const end = stopped.aborted ? "preempted" : "ended";
      const { phase, length } = concludeAppend(appender.state, end, false);
      const committed = await appender.commit({ phase, length });
      if (isCompleting(committed)) return await this.#complete(committed);
      return { is: "rejected", reason: "preempted", upload: toSnapshot(committed) };
    } catch (error) {
      if (!(error instanceof PartialUploadGone)) throw error;
      log("error", "a partial upload is gone, and its final upload is removed", errorFields(error));
      await appender.settle();
      await this.#end(record);
      return undefined;
    } finally {
      await appender.settle();
    }
  }

  #appenderFor(
    record: SessionRecord,
    checksum: ExpectedDigest | null,
    contentLength: number | null,
  ): Appender {
    const open = async (uploadId: string | null) => openMultipart(this.env, { ...record, uploadId });
    return new Appender(this.#storage, record, open, checksum, contentLength);
  }

  /** From the last byte to the file. An earlier run may have done any of the steps without recording it. */
  async #complete(record: SessionRecord): Promise<Outcome> {
    await this.ctx.storage.setAlarm(Date.now() + CHECK_MS);
    let completed = record;
    if (record.phase !== "publishing") {
      const sha256 = digestOf(record);
      if (record.expected && record.expected.sha256 !== sha256) {
        await this.#end(record);
        return { is: "wrong-digest", header: record.expected.header };
      }
      await completeInR2(this.env, this.#storage, record);
      completed = { ...record, phase: "publishing", sha256, hash: null, uploadId: null };
      this.#storage.saveCompleted(completed);
    }
    const published = await publish(this.env, completed);
    // The alarm tries again.
    if (!published) return { is: "accepted", upload: toSnapshot(completed), taskFailed: true };
    this.#storage.save(published);
    await unpinPartials(this.env, published);
    await this.ctx.storage.setAlarm(published.expiresAtMs);
    return { is: "accepted", upload: toSnapshot(published) };
  }

  /** From now on there is no such upload; its bytes are removed now, or later by the alarm. */
  async #end(record: SessionRecord): Promise<void> {
    const ended: SessionRecord = { ...record, phase: "ended" };
    this.#storage.save(ended);
    await this.ctx.storage.setAlarm(Date.now() + CHECK_MS);
    await this.#clear(ended);
  }

  async #clear(record: SessionRecord): Promise<void> {
    const untilMs = pinnedUntilMs(record);
    if (untilMs > Date.now()) {
      await this.ctx.storage.setAlarm(untilMs);
      return;
    }
    await unpinPartials(this.env, record);
    await discardUpload(this.env, record);
    await this.ctx.storage.deleteAll();
  }

  /** Undefined if there is no upload, and also if it has ended and is not cleared yet. */
  #load(): SessionRecord | undefined {
    const record = this.#storage.load();
    return record?.phase === "ended" ? undefined : record;
  }

  /** A client that reads that all bytes have arrived takes the upload for complete, so it is completed first. */
  async #completeAndLoad(): Promise<SessionRecord | undefined> {
    const record = this.#load();
    if (record && isCompleting(record)) await this.#complete(record);
    return this.#load();
  }
}

const logFailure = (error: unknown) =>
  log("error", "a final upload could not be concatenated; the alarm tries again", errorFields(error));
