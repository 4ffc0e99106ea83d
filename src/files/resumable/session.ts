/**
 * One resumable upload: a Durable Object that owns its offset, its parts and its tail.
 *
 * One request at a time works on it, and the newest has precedence: it stops the one before, which keeps what it
 * has received, and then begins. So a client whose connection hangs half-open is not locked out by it.
 *
 * When the last byte is kept, the upload is sealed: checked, completed in R2, entered in the catalogue, and its task
 * started. Each step can be repeated, so whatever is interrupted is finished by the next request, or by the alarm.
 * The alarm also ends what has been abandoned.
 */
import { DurableObject } from "cloudflare:workers";
import { errorFields, log } from "../../kernel/log.ts";
import type { Expected } from "../store/digests.ts";
import { dropBody, readChunks } from "../store/parts.ts";
import { MissingPiece, type Piece, readPieces, unpinPieces } from "./assembly.ts";
import { Intake, receive } from "./intake.ts";
import { PreemptiveLock } from "./preemptive-lock.ts";
import { newRecord, type SessionRecord, SessionStorage, type UploadSpec } from "./record.ts";
import { type Addition, admit, conclude, isOver, isSealing, lastPin } from "./rules.ts";
import { completeInR2, digestOf, discard, openMultipart, publish } from "./seal.ts";
import { type Outcome, type Snapshot, toSnapshot } from "./view.ts";

interface AppendRequest extends Addition {
  /** Of what this request brings; nothing of it is kept if it is another. */
  checksum: Expected | null;
  /** Its protocol is one in which the byte at `length` ends the upload. */
  endsAtLength: boolean;
  maxUnknownLength: number;
}

/** How long sealing and assembling may take before the alarm looks after them; also how often it does. */
const ATTEND_MS = 15_000;
/** After R2 or the catalogue has failed. */
const TRY_AGAIN_MS = 60_000;

export class UploadSession extends DurableObject<Env> {
  readonly #records = new SessionStorage(this.ctx.storage);
  readonly #lock = new PreemptiveLock();
  #assembling: Promise<Outcome | undefined> | undefined;

  /** Begins an upload; the object must be a new one. */
  async create(spec: UploadSpec): Promise<Snapshot> {
    const nowMs = Date.now();
    const record = newRecord(spec, nowMs);
    this.#records.save(record);
    // A final upload needs no further request to go on.
    await this.ctx.storage.setAlarm(spec.kind === "final" ? nowMs + ATTEND_MS : record.expiresAtMs);
    return toSnapshot(record);
  }

  /** How far it is; undefined if there is no such upload. Stops the request that is adding to it. */
  async status(): Promise<Snapshot | undefined> {
    const record = this.#load();
    // One that is put together here has no request to stop.
    if (!record || record.kind === "final") return record && toSnapshot(record);
    return this.#lock.run(async () => {
      const now = await this.#loadSealed();
      return now && toSnapshot(now);
    });
  }

  /** Adds bytes. What has come when the body breaks off, or another request takes over, is kept. */
  async append(
    request: AppendRequest,
    body: ReadableStream<Uint8Array> | null,
  ): Promise<Outcome | undefined> {
    const record = this.#load();
    if (record?.kind === "final") {
      await dropBody(body);
      return { is: "refused", why: "final", now: toSnapshot(record) };
    }
    return this.#lock.run(async (stopped) => {
      const current = this.#load();
      const before = current?.phase === "receiving" ? current : await this.#loadSealed();
      const admitted = before && admit(before, request, request.maxUnknownLength);
      if (!admitted || "refusal" in admitted) {
        await dropBody(body, stopped);
        return before && { is: "refused", why: admitted?.refusal ?? "complete", now: toSnapshot(before) };
      }
      const { length } = admitted;
      const endsAtLength = before.endsAtLength || request.endsAtLength;
      return this.#take({ ...before, length, endsAtLength }, request, body, stopped);
    });
  }

  /** Puts a final upload together from its pieces, from wherever that has stopped. Repeating it is harmless. */
  async assemble(): Promise<Outcome | undefined> {
    this.#assembling ??= this.#lock
      .run(async (stopped) => this.#assemble(stopped))
      .finally(() => {
        this.#assembling = undefined;
      });
    return this.#assembling;
  }

  /** A partial upload as a piece of the final one `holder`; undefined if there is none. */
  async piece(holder?: string): Promise<Piece | undefined> {
    const record = this.#records.load();
    if (record?.kind !== "partial") return undefined;
    // One that is ended is still there for whoever has pinned it before.
    const pinnedUntilMs = holder === undefined ? 0 : (record.pins[holder] ?? 0);
    if (record.phase === "ended" && pinnedUntilMs <= Date.now()) return undefined;
    const hasAll = record.phase === "complete" || record.phase === "ended";
    return { blob: record.blob, size: record.offset, isWhole: hasAll };
  }

  /**
   * The same, once it is whole: its bytes stay until `untilMs` or `unpin`, even if it is removed or expires before.
   */
  async pin(holder: string, untilMs: number): Promise<Piece | undefined> {
    const piece = await this.piece(holder);
    const record = this.#records.load();
    if (!record || !piece?.isWhole) return undefined;
    this.#records.save({ ...record, pins: { ...record.pins, [holder]: untilMs } });
    return piece;
  }

  async unpin(holder: string): Promise<void> {
    const record = this.#records.load();
    if (!record) return;
    const { [holder]: _, ...pins } = record.pins;
    this.#records.save({ ...record, pins });
    if (record.phase === "ended") await this.#clear({ ...record, pins });
  }

  /** Ends the upload and removes what it has; a file that it has become stays. Gives what it was, if it was. */
  async terminate(): Promise<Snapshot | undefined> {
    return this.#lock.run(async () => {
      const record = this.#load();
      if (record) await this.#end(record);
      return record && toSnapshot(record);
    });
  }

  /** Never throws: the runtime gives an alarm up that fails too often. */
  override async alarm(): Promise<void> {
    try {
      await this.#attend();
    } catch (error) {
      log("error", "an upload could not be attended to; next try in a minute", errorFields(error));
      await this.ctx.storage.setAlarm(Date.now() + TRY_AGAIN_MS);
    }
  }

  async #attend(): Promise<void> {
    const record = this.#records.load();
    if (!record) return;
    if (record.phase === "ended") {
      await this.#clear(record);
    } else if (record.kind === "final" && record.phase !== "complete" && !isOver(record, Date.now())) {
      // Not awaited: a long alarm would hold back the next.
      await this.ctx.storage.setAlarm(Date.now() + ATTEND_MS);
      this.ctx.waitUntil(this.assemble().catch(logFailure));
    } else if (!isSealing(record) && !isOver(record, Date.now())) {
      // Without the lock, which would stop a request that is adding to it.
      await this.ctx.storage.setAlarm(record.expiresAtMs);
    } else {
      await this.#lock.run(async () => this.#goOn());
    }
  }

  async #goOn(): Promise<void> {
    const record = this.#load();
    if (!record) return;
    if (isOver(record, Date.now())) await this.#end(record);
    else if (isSealing(record)) await this.#seal(record);
  }

  async #take(
    record: SessionRecord,
    { checksum, contentLength, isLast, maxUnknownLength }: AppendRequest,
    body: ReadableStream<Uint8Array> | null,
    stopped: AbortSignal,
  ): Promise<Outcome> {
    const intake = this.#intakeFor(record, checksum, contentLength);
    try {
      const end = await receive(
        intake,
        record.length ?? maxUnknownLength,
        readChunks(body, stopped),
        stopped,
      );
      const { isKept, phase, length, refusal } = conclude(intake.state, end, isLast);
      // Of part of what a checksum is for, nobody can say that it is right.
      const isRight = !checksum || (refusal === undefined && intake.isRight());
      if (isKept && isRight) {
        const kept = await intake.keep({ phase, length });
        if (isSealing(kept)) return await this.#seal(kept);
      }
      await intake.settle();
      const now = toSnapshot(this.#load() ?? record);
      if (refusal !== undefined) return { is: "refused", why: refusal, now };
      return isRight ? { is: "taken", now } : { is: "refused", why: "wrong-checksum", now };
    } finally {
      await intake.settle();
    }
  }

  async #assemble(stopped: AbortSignal): Promise<Outcome | undefined> {
    const record = this.#load();
    if (!record) return undefined;
    if (record.phase === "complete") return { is: "taken", now: toSnapshot(record) };
    if (isSealing(record)) return this.#seal(record);
    await this.ctx.storage.setAlarm(Date.now() + ATTEND_MS);
    const intake = this.#intakeFor(record, null, record.length);
    try {
      for await (const chunk of readPieces(this.env, record, stopped)) await intake.take(chunk);
      const { phase, length } = conclude(intake.state, stopped.aborted ? "preempted" : "ended", false);
      const kept = await intake.keep({ phase, length });
      if (isSealing(kept)) return await this.#seal(kept);
      return { is: "refused", why: "preempted", now: toSnapshot(kept) };
    } catch (error) {
      if (!(error instanceof MissingPiece)) throw error;
      log("error", "a final upload has lost one of its pieces, and is given up", errorFields(error));
      await intake.settle();
      await this.#end(record);
      return undefined;
    } finally {
      await intake.settle();
    }
  }

  #intakeFor(record: SessionRecord, checksum: Expected | null, contentLength: number | null): Intake {
    const open = async (uploadId: string | null) => openMultipart(this.env, { ...record, uploadId });
    return new Intake(this.#records, record, open, checksum, contentLength);
  }

  /** From the last byte to the file. Each step may have been done before, by somebody who could not say so. */
  async #seal(record: SessionRecord): Promise<Outcome> {
    await this.ctx.storage.setAlarm(Date.now() + ATTEND_MS);
    let sealed = record;
    if (record.phase !== "publishing") {
      const sha256 = digestOf(record);
      if (record.expected && record.expected.sha256 !== sha256) {
        await this.#end(record);
        return { is: "wrong-digest", header: record.expected.header };
      }
      await completeInR2(this.env, this.#records, record);
      sealed = { ...record, phase: "publishing", sha256, hash: null, uploadId: null };
      this.#records.saveSealed(sealed);
    }
    const published = await publish(this.env, sealed);
    // The alarm tries again.
    if (!published) return { is: "taken", now: toSnapshot(sealed), taskFailed: true };
    this.#records.save(published);
    await unpinPieces(this.env, published);
    await this.ctx.storage.setAlarm(published.expiresAtMs);
    return { is: "taken", now: toSnapshot(published) };
  }

  /** From now on there is no such upload; what it has is removed now, or by the alarm. */
  async #end(record: SessionRecord): Promise<void> {
    const ended: SessionRecord = { ...record, phase: "ended" };
    this.#records.save(ended);
    await this.ctx.storage.setAlarm(Date.now() + ATTEND_MS);
    await this.#clear(ended);
  }

  async #clear(record: SessionRecord): Promise<void> {
    const pinnedUntilMs = lastPin(record);
    if (pinnedUntilMs > Date.now()) {
      await this.ctx.storage.setAlarm(pinnedUntilMs);
      return;
    }
    await unpinPieces(this.env, record);
    await discard(this.env, record);
    await this.ctx.storage.deleteAll();
  }

  /** Undefined also for one that is ended, and not cleared yet. */
  #load(): SessionRecord | undefined {
    const record = this.#records.load();
    return record?.phase === "ended" ? undefined : record;
  }

  /** Whoever reads that all the bytes are here takes the upload for complete: so it is completed first. */
  async #loadSealed(): Promise<SessionRecord | undefined> {
    const record = this.#load();
    if (record && isSealing(record)) await this.#seal(record);
    return this.#load();
  }
}

const logFailure = (error: unknown) =>
  log("error", "a final upload could not be put together; the alarm tries again", errorFields(error));
