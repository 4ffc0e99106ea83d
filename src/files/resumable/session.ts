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
import { markRepeatable } from "../../kernel/objects.ts";
import type { Excess } from "../../kernel/quotas.ts";
import { inRootSpan } from "../../kernel/spans.ts";
import { discardBody, readChunks } from "../store/body.ts";
import type { ByteReservation } from "../store/byte-reservation.ts";
import type { ExpectedDigest } from "../store/digests.ts";
import {
  type AppendRequest,
  admit,
  concludeAppend,
  hasExpired,
  isCompleting,
  type Piece,
} from "./append-rules.ts";
import { Appender, appendBody, UnfitContent } from "./appender.ts";
import { type CompletingSession, completeUpload, StillReadingBack } from "./complete-upload.ts";
import { byteReservationOf, countWrongChunk, discardUpload, openMultipart, reserve } from "./completion.ts";
import { notifyHolders, unpinPartials } from "./concatenation.ts";
import { DraftOfSession } from "./draft-session.ts";
import { CHECK_MS, FinalUpload } from "./final-upload.ts";
import { PinsOfPartial } from "./pins.ts";
import { PreemptiveLock } from "./preemptive-lock.ts";
import { HashMemory } from "./running-hash.ts";
import { newRecord, type SessionRecord, SessionStorage, type UploadSpec } from "./session-storage.ts";
import { type FinalOutcome, type Outcome, type Snapshot, toSnapshot } from "./snapshot.ts";

interface SessionAppend extends AppendRequest {
  /** Of the bytes of this request; if they do not match one of them, none of the bytes is kept. */
  digests: ExpectedDigest[];
  /** In the protocol of this request, the byte at `length` completes the upload. */
  endsAtLength: boolean;
  maxUnknownLength: number;
  /** How many bytes one request may bring, if there is a limit. */
  maxContent?: number | undefined;
  /** The trace that the request is part of. */
  traceparent?: string | undefined;
}

/** The pause after an alarm has failed, because of R2 or the catalogue. */
const ALARM_RETRY_MS = 60_000;

export class UploadSession extends DurableObject<Env> {
  readonly #storage = new SessionStorage(this.ctx.storage);
  readonly #lock = new PreemptiveLock();
  readonly #hash = new HashMemory();
  readonly #pins = new PinsOfPartial(this.#storage, (holders, source, piece) => {
    this.ctx.waitUntil(notifyHolders(this.env, holders, source, piece));
  });
  readonly #completing: CompletingSession = {
    ctx: this.ctx,
    env: () => this.env,
    storage: this.#storage,
    hash: this.#hash,
    pins: this.#pins,
    end: async (record, why) => this.#end(record, why),
  };
  readonly #final = new FinalUpload(this.ctx, this.#storage, this.#lock, {
    env: () => this.env,
    load: () => this.#load(),
    appenderFor: async (record, stopped) => this.#appenderFor(record, [], record.length, stopped),
    holdBytes: async (record) => byteReservationOf(this.env, record, 0)?.tryHold(record.length ?? 0),
    complete: async (record) => completeUpload(this.#completing, record),
    end: async (record) => this.#end(record),
    endUnfit: async (why) => this.#endUnfit(why),
  });

  /** Of the quotas, for an upload that receives bytes. */
  #bytes: ByteReservation | undefined;

  readonly #draft = new DraftOfSession({
    ctx: this.ctx,
    storage: this.#storage,
    hash: this.#hash,
    lock: this.#lock,
    load: () => this.#load(),
    append: async (chunk, body) =>
      this.append({ ...chunk, length: null, endsAtLength: false, digests: [] }, body),
    end: async (record) => this.#end(record),
  });

  /** Begins an upload; the object must be a new one. Undefined if it has ended in the meantime. */
  async create(spec: UploadSpec): Promise<FinalOutcome | undefined> {
    const nowMs = Date.now();
    const record = newRecord(spec, nowMs);
    // A final upload must proceed without another request.
    if (spec.kind === "final") await reserve(this.env, record, null);
    this.#storage.save(record);
    await this.ctx.storage.setAlarm(spec.kind === "final" ? nowMs + CHECK_MS : record.expiresAtMs);
    if (spec.kind === "final") return this.#final.begin();
    const excess = await this.#holdAll(record);
    if (!excess) return { is: "accepted", upload: toSnapshot(record) };
    await this.#end(record);
    return { is: "over-quota", excess };
  }

  /** A new upload holds all its bytes, if it says how many. The catalogue tends it from then on. */
  async #holdAll(record: SessionRecord): Promise<Excess | undefined> {
    this.#bytes = byteReservationOf(this.env, record, 0);
    if (!this.#bytes || record.length === null) return undefined;
    await reserve(this.env, record, null);
    return this.#bytes.tryHold(record.length);
  }

  /** Drafts: see `DraftOfSession`. */
  async openDraft(spec: UploadSpec): Promise<Snapshot> {
    return this.#draft.open(spec);
  }

  async appendDraft(
    owner: string | null,
    offset: number,
    bytes: Uint8Array,
    maxUnknownLength: number,
  ): Promise<Outcome | undefined> {
    return this.#draft.append(owner, offset, bytes, maxUnknownLength);
  }

  async finishDraft(owner: string | null, length: number): Promise<Outcome | "busy" | undefined> {
    return this.#draft.finish(owner, length);
  }

  async discardDraft(owner: string | null): Promise<void> {
    await this.#draft.discard(owner);
  }

  /** The state of the upload as it is stored. Stops nothing: a request may be appending to it. */
  async peek(): Promise<Snapshot | undefined> {
    const record = this.#load();
    return record && toSnapshot(record);
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
      const isEmpty = await discardBody(body);
      return { is: "rejected", reason: "final", upload: toSnapshot(record), isEmpty };
    }
    const appendNow = async (stopped: AbortSignal): Promise<Outcome | undefined> => {
      const current = this.#load();
      const before = current?.phase === "receiving" ? current : await this.#completeAndLoad();
      const admitted = before && admit(before, request, request.maxUnknownLength);
      if (!admitted || "rejection" in admitted) {
        const isEmpty = await discardBody(body, stopped);
        const reason = admitted?.rejection ?? "complete";
        return before && { is: "rejected", reason, upload: toSnapshot(before), isEmpty };
      }
      const { length } = admitted;
      const endsAtLength = before.endsAtLength || request.endsAtLength;
      return this.#append({ ...before, length, endsAtLength }, request, body, stopped);
    };
    const { env, ctx } = this;
    const origin = { env, ctx, traceparent: request.traceparent };
    return inRootSpan(origin, "upload append", {}, async () => this.#lock.run(appendNow));
  }

  /** Builds a final upload from its partials, continuing where it was interrupted. It can be repeated safely. */
  async concatenate(): Promise<FinalOutcome | undefined> {
    return this.#final.concatenate();
  }

  /** Tells this final upload what has become of one of its partials; null: it is gone. */
  async noteSource(source: string, piece: Piece | null): Promise<void> {
    this.#final.noteSource(source, piece);
  }

  /**
   * This partial upload, for the final upload `holder`, which is told how it goes on; undefined if there is none. Once
   * it is complete, its bytes stay until `unpin`, even if the upload is removed or expires before.
   */
  async pin(holder: string): Promise<Piece | undefined> {
    const record = this.#storage.load();
    if (record?.kind !== "partial") return undefined;
    return this.#pins.add(record, holder);
  }

  async unpin(holder: string): Promise<void> {
    this.#pins.remove([holder]);
    const record = this.#storage.load();
    if (record?.phase === "ended") await this.#clear(record);
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
      if (error instanceof StillReadingBack) return;
      log("error", "the alarm of an upload failed; next try in a minute", errorFields(error));
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
    }
  }

  /**
   * For the catalogue, from time to time: does what the alarm does, if that was lost. `nextAtMs`: when the alarm is due
   * next; null if the upload has ended.
   */
  async tend(): Promise<{ wasOverdue: boolean; nextAtMs: number | null }> {
    if (!this.#storage.load()) return { wasOverdue: false, nextAtMs: null };
    const dueAtMs = await this.ctx.storage.getAlarm();
    if (dueAtMs !== null && Date.now() - dueAtMs < ALARM_RETRY_MS)
      return { wasOverdue: false, nextAtMs: dueAtMs };
    await this.alarm();
    const nextAtMs = await this.ctx.storage.getAlarm();
    return { wasOverdue: true, nextAtMs: nextAtMs ?? (this.#storage.load() ? Date.now() : null) };
  }

  async #check(): Promise<void> {
    const record = this.#storage.load();
    if (!record) return;
    if (record.phase === "ended") {
      await this.#clear(record);
    } else if (record.kind === "final" && record.phase !== "complete" && !hasExpired(record, Date.now())) {
      // Not awaited, because a long alarm delays the next one.
      await this.#final.setCheck(record);
      this.#final.start();
    } else if (!isCompleting(record) && !hasExpired(record, Date.now())) {
      // Without the lock, because taking it would stop a request that is appending.
      await this.ctx.storage.setAlarm(record.expiresAtMs);
      if (record.phase === "complete") this.#pins.notify(record);
    } else {
      await this.#lock.run(async () => this.#endOrComplete());
    }
  }

  async #endOrComplete(): Promise<void> {
    const record = this.#load();
    if (!record) return;
    if (hasExpired(record, Date.now())) await this.#end(record);
    else if (isCompleting(record)) await completeUpload(this.#completing, record);
  }

  async #append(
    record: SessionRecord,
    { digests, contentLength, isLast, maxUnknownLength, maxContent }: SessionAppend,
    body: ReadableStream<Uint8Array> | null,
    stopped: AbortSignal,
  ): Promise<Outcome> {
    const stored = this.#load();
    const knownLength = stored?.length;
    // What has arrived is held, and all of it from when on its length is known.
    this.#bytes ??= byteReservationOf(this.env, record, knownLength ?? record.offset);
    const ownBytes = this.#bytes;
    const excess =
      record.length === null
        ? await ownBytes?.tryHold(record.offset + (contentLength ?? 0), maxUnknownLength)
        : await ownBytes?.tryHold(record.length);
    if (excess) {
      await discardBody(body, stopped);
      return { is: "over-quota", excess };
    }
    const opening = this.#appenderFor(record, digests, contentLength, stopped);
    const appender = await opening.catch(async (error: unknown) => {
      // A body that nobody reads would keep its sender and this object busy.
      await discardBody(body);
      throw error;
    });
    try {
      const maxLength = record.length ?? maxUnknownLength;
      const limits = { maxLength, maxContent, contentLength };
      const chunks = readChunks(body, stopped);
      const held = ownBytes?.covering(chunks, maxLength, record.offset) ?? chunks;
      const end = await appendBody(appender, limits, held, stopped);
      const { isKept, phase, length, rejection } = concludeAppend(appender.state, end, isLast);
      // Digests cover all bytes of the request, so an incomplete body cannot be verified.
      const isVerifiable = digests.length === 0 || rejection === undefined;
      const wrong = isVerifiable ? appender.wrongDigest() : undefined;
      if (isVerifiable && !wrong) appender.checkContent();
      if (isKept && isVerifiable && !wrong) {
        const committed = await appender.commit({ phase, length });
        if (isCompleting(committed)) {
          // Its completion needs memory too.
          await appender.close();
          return await completeUpload(this.#completing, committed);
        }
        if (committed.length !== knownLength) this.#pins.notify(committed);
      }
      await appender.settle();
      const upload = toSnapshot(this.#load() ?? record);
      if (rejection === "interrupted" && ownBytes?.excess)
        return { is: "over-quota", excess: ownBytes.excess };
      if (rejection !== undefined) return { is: "rejected", reason: rejection, upload, isEmpty: false };
      if (!wrong) return { is: "accepted", upload };
      this.ctx.waitUntil(countWrongChunk(this.env, record));
      return { is: "wrong-chunk", header: wrong.header, upload };
    } catch (error) {
      if (!(error instanceof UnfitContent)) throw error;
      await appender.close();
      return await this.#endUnfit(error);
    } finally {
      await appender.close();
    }
  }

  /** Ends the upload, because its bytes are not of the type that they must be of. */
  async #endUnfit({ message: why, by }: UnfitContent): Promise<Outcome> {
    const record = this.#load();
    if (record) await this.#end(record);
    return { is: "unfit", why, by };
  }

  async #appenderFor(
    record: SessionRecord,
    digests: ExpectedDigest[],
    contentLength: number | null,
    stopped: AbortSignal,
  ): Promise<Appender> {
    const open = async (uploadId: string | null) => openMultipart(this.env, { ...record, uploadId });
    return Appender.open(stopped, this.#storage, record, this.#hash, open, digests, contentLength);
  }

  /** From now on there is no such upload; its bytes are removed now, or later by the alarm. */
  async #end(record: SessionRecord, why?: "digest"): Promise<void> {
    const ended: SessionRecord = { ...record, phase: "ended" };
    this.#bytes = undefined;
    if (record.phase !== "complete") {
      // Its bytes are of no use to those who wait for it.
      this.#pins.notify(record, null);
      this.#pins.removeAll();
    }
    this.#storage.save(ended);
    await this.ctx.storage.setAlarm(Date.now() + CHECK_MS);
    await this.#clear(ended, why);
  }

  async #clear(record: SessionRecord, why?: "digest"): Promise<void> {
    const untilMs = this.#pins.heldUntilMs();
    if (untilMs > Date.now()) {
      await this.ctx.storage.setAlarm(untilMs);
      return;
    }
    await unpinPartials(this.env, record);
    await discardUpload(this.env, record, why);
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
    if (record && isCompleting(record)) await completeUpload(this.#completing, record);
    return this.#load();
  }
}

markRepeatable(
  UploadSession,
  "openDraft",
  "appendDraft",
  "finishDraft",
  "discardDraft",
  "peek",
  "status",
  "pin",
  "unpin",
  "noteSource",
);
