/**
 * What a session does when its upload is a final one of tus: it asks its partial uploads, waits for those that are not
 * complete, reads all of them, and ends if one is gone. Each step can be repeated; the alarm does so.
 */
import { errorFields, log } from "../../kernel/log.ts";
import type { Excess } from "../../kernel/quotas.ts";
import { readFileSettings } from "../store/settings.ts";
import { concludeAppend, isCompleting, type Piece } from "./append-rules.ts";
import { type Appender, UnfitContent } from "./appender.ts";
import { PartialUploadGone, pinPartials, readPartials } from "./concatenation.ts";
import { awaited, isWaiting, pauseUntilAskedMs, withPieces } from "./pieces.ts";
import type { PreemptiveLock } from "./preemptive-lock.ts";
import type { SessionRecord, SessionStorage } from "./session-storage.ts";
import { type FinalOutcome, type Outcome, toSnapshot } from "./snapshot.ts";

/** How long a step may take until the alarm checks on it. */
export const CHECK_MS = 15_000;

/** The session, as far as its final upload needs it. */
interface Host {
  env(): Env;
  /** Undefined if the upload has ended. */
  load(): SessionRecord | undefined;
  appenderFor(record: SessionRecord, stopped: AbortSignal): Promise<Appender>;
  /** Why a quota has no room for the bytes of a final upload, if it has none. */
  holdBytes(record: SessionRecord): Promise<Excess | undefined>;
  complete(record: SessionRecord): Promise<Outcome>;
  end(record: SessionRecord): Promise<void>;
  endUnfit(why: UnfitContent): Promise<Outcome>;
}

export class FinalUpload {
  readonly #ctx: DurableObjectState;
  readonly #storage: SessionStorage;
  readonly #lock: PreemptiveLock;
  readonly #host: Host;
  #concatenating: Promise<FinalOutcome | undefined> | undefined;

  constructor(ctx: DurableObjectState, storage: SessionStorage, lock: PreemptiveLock, host: Host) {
    this.#ctx = ctx;
    this.#storage = storage;
    this.#lock = lock;
    this.#host = host;
  }

  /** Asks the partials of a new upload: from then on, their length is known if it can be. */
  async begin(): Promise<FinalOutcome | undefined> {
    return this.#lock.run(async () => this.#ask());
  }

  /** Reads the partials and becomes the file; the outcome is `accepted` too if it still waits for some of them. */
  async concatenate(): Promise<FinalOutcome | undefined> {
    this.#concatenating ??= this.#lock
      .run(async (stopped) => this.#concatenate(stopped))
      .finally(() => {
        this.#concatenating = undefined;
      });
    return this.#concatenating;
  }

  /** As `concatenate`, in the background. */
  start(): void {
    const start = async () => {
      // One that is under way may have looked before. If it fails, whoever began it says so.
      await this.#concatenating?.catch(() => {});
      await this.concatenate();
    };
    this.#ctx.waitUntil(start().catch(logFailure));
  }

  /** Notes what has become of a partial; null: it is gone. */
  noteSource(source: string, piece: Piece | null): void {
    const record = this.#host.load();
    if (!record || !isWaiting(record) || !awaited(record).includes(source)) return;
    if (piece) {
      const changed = withPieces(record, { [source]: piece });
      this.#storage.save(changed);
      if (isWaiting(changed) && !this.#isTooLong(changed)) return;
    }
    this.start();
  }

  /** When the alarm looks at the upload again. */
  async setCheck(record: SessionRecord): Promise<void> {
    const nowMs = Date.now();
    const pauseMs = isWaiting(record) ? pauseUntilAskedMs(record, nowMs) : CHECK_MS;
    await this.#ctx.storage.setAlarm(Math.min(nowMs + pauseMs, record.expiresAtMs));
  }

  async #concatenate(stopped: AbortSignal): Promise<FinalOutcome | undefined> {
    const record = this.#host.load();
    if (!record) return undefined;
    if (record.phase === "complete") return { is: "accepted", upload: toSnapshot(record) };
    if (isCompleting(record)) return this.#host.complete(record);
    await this.setCheck(record);
    const asked = isWaiting(record) ? await this.#ask() : undefined;
    const current = this.#host.load();
    if (!current || isWaiting(current)) return asked;
    if (this.#isTooLong(current)) return this.#endTooLong(current);
    return this.#endIfGone(async () => this.#read(current, stopped));
  }

  /** Pins the partials that are not complete, as far as is known. Ends the upload if they are too long together. */
  async #ask(): Promise<FinalOutcome | undefined> {
    return this.#endIfGone(async () => {
      const record = this.#host.load();
      const found = record && (await pinPartials(this.#host.env(), record));
      // Meanwhile, some may have said more.
      const current = this.#host.load();
      if (!current) return undefined;
      const asked = withPieces(current, found ?? {});
      this.#storage.save(asked);
      return this.#isTooLong(asked) ? this.#endTooLong(asked) : { is: "accepted", upload: toSnapshot(asked) };
    });
  }

  async #endTooLong(record: SessionRecord): Promise<FinalOutcome> {
    await this.#host.end(record);
    return { is: "rejected", reason: "too-large", upload: toSnapshot(record), isEmpty: true };
  }

  async #read(record: SessionRecord, stopped: AbortSignal): Promise<Outcome> {
    const excess = await this.#host.holdBytes(record);
    if (excess) {
      await this.#host.end(record);
      return { is: "over-quota", excess };
    }
    const appender = await this.#host.appenderFor(record, stopped);
    try {
      for await (const chunk of readPartials(this.#host.env(), record, stopped)) await appender.append(chunk);
      const end = stopped.aborted ? "preempted" : "ended";
      const { phase, length } = concludeAppend(appender.state, end, false);
      const committed = await appender.commit({ phase, length });
      // Its completion needs memory too.
      await appender.close();
      if (isCompleting(committed)) return await this.#host.complete(committed);
      return { is: "rejected", reason: "preempted", upload: toSnapshot(committed), isEmpty: true };
    } finally {
      await appender.close();
    }
  }

  async #endIfGone(work: () => Promise<FinalOutcome | undefined>): Promise<FinalOutcome | undefined> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof UnfitContent) return this.#host.endUnfit(error);
      if (!(error instanceof PartialUploadGone)) throw error;
      log("info", "a partial upload is gone, and its final upload is removed", errorFields(error));
      const record = this.#host.load();
      if (record) await this.#host.end(record);
      return { is: "gone", source: error.source };
    }
  }

  #isTooLong({ length, maxBytes = readFileSettings(this.#host.env()).maxBytes }: SessionRecord): boolean {
    return length !== null && length > maxBytes;
  }
}

const logFailure = (error: unknown) =>
  log("error", "a final upload could not be concatenated; the alarm tries again", errorFields(error));
