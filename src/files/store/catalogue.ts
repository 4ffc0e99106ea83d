/**
 * The catalogue: which files exist and where in R2 their bytes are. It is kept in SQLite, in a few Durable Objects.
 *
 * R2 alone is not enough: it cannot delete conditionally, so whoever deletes an old or expired version could hit a
 * new one that has just arrived.
 *
 * The bytes of every version are an R2 object of their own (its blob), written once and never changed. A blob is
 * reserved here before its first byte goes to R2. From then on it is in one of two tables: `file`, or `stray`, from
 * which an alarm removes it when it is due. So whatever crashes in between, nothing stays forever, and a file is
 * visible only when it is complete:
 *
 *     reserve ──▶ stray ──commit──▶ file ──replaced, removed, expired──▶ stray, due now ──alarm──▶ gone
 *                   └──discarded, or never committed──▶ due ──alarm──▶ gone
 */
import { DurableObject } from "cloudflare:workers";
import { type Bounds, isWithin } from "../../kernel/bounds.ts";
import { Feed } from "../../kernel/feed.ts";
import { KeptTally } from "../../kernel/kept-tally.ts";
import { errorFields, log } from "../../kernel/log.ts";
import { Registration } from "../../kernel/object-registry.ts";
import { markRepeatable } from "../../kernel/objects.ts";
import { addColumns, migrate } from "../../kernel/schema.ts";
import { type Figures, keyOf } from "../../kernel/tally.ts";
import { type ByteUse, hasByteQuotas } from "./byte-quota.ts";
import { type Decision, startCheck } from "./checks.ts";
import { CREATE_ENDED, EndedVersions } from "./ended-versions.ts";
import { FileTable, type FileTotals, type FileVersion } from "./file-table.ts";
import {
  CREATE_GRANTS,
  type GrantRef,
  type GrantRefusal,
  type GrantUse,
  GrantUses,
  hold,
  release,
  store,
} from "./grant-use.ts";
import {
  CHECK_RETRY_MS,
  CREATE_HELD,
  HELD_MS,
  type HeldFile,
  HeldFiles,
  type Hold,
  versionOf,
} from "./held-files.ts";
import { evaluatePreconditions, type Preconditions } from "./preconditions.ts";
import {
  ADD_OWNER,
  ADD_SOURCES,
  CREATE_SOURCE_INDEX,
  CREATE_TABLES,
  type FileRow,
  type FoundFile,
  type NewFile,
  toLine,
  validatorsOf,
} from "./schema.ts";
import { CREATE_HELD_INDEX, HELD_COLUMNS, StoredBytes } from "./stored-bytes.ts";
import { StrayBlobs } from "./stray-blobs.ts";
import { CREATE_SESSIONS, TEND_AFTER_MS, TendedSessions } from "./tended-sessions.ts";
import { dateOf, lastModified, type PreviousVersion } from "./version-date.ts";

/** A version of a file, and its size in bytes. */
export interface OldVersion {
  id: string;
  blob: string;
  size: number;
}

export type CommitResult =
  | { is: "created" | "replaced"; rows: FileRow[] }
  /** They are stored, and nobody sees them before the tasks that check them accept them. */
  | { is: "held"; rows: FileRow[]; checks: (string | null)[] }
  | { is: "precondition-failed" }
  /** A blob is not reserved, or no longer: the commit is too late, or an earlier one was replaced since. */
  | { is: "unreserved" }
  /** A file that would be replaced is not the caller's. */
  | { is: "out-of-bounds" }
  /** The grant does not allow it. */
  | { is: "refused"; refusal: GrantRefusal };

/** What has become of a held file. `gone`: it was decided about before, was superseded, or has expired. */
export type Decided = { is: "published"; file: NewFile; task: string | null } | { is: "refused" | "gone" };

/** What a commit depends on besides the preconditions. */
interface CommitTerms {
  grant: GrantRef | undefined;
  holding: Hold | undefined;
  bounds: Bounds | undefined;
}

const MIGRATIONS = [
  CREATE_TABLES + CREATE_ENDED,
  CREATE_SESSIONS,
  ADD_SOURCES,
  CREATE_SOURCE_INDEX,
  ADD_OWNER,
  CREATE_GRANTS,
  CREATE_HELD,
  addColumns("stray", HELD_COLUMNS),
  CREATE_HELD_INDEX,
];

/** Blobs that one alarm collects: each may cost a call to R2, of which the Free plan allows 1,000. */
const COLLECT_BATCH = 500;
/** No more strays than this are counted at each reading of the figures. */
const MAX_COUNTED = 10_000;
/** The pause after R2 has failed. */
const COLLECT_RETRY_MS = 60_000;

export class FileCatalogue extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;
  readonly #registration = new Registration(this.ctx, this.env, "FILE_CATALOGUE");
  readonly #ended = new EndedVersions(this.#sql);
  readonly #files = new FileTable(this.#sql);
  readonly #strays = new StrayBlobs(this.#sql);
  readonly #held = new HeldFiles(this.#sql);
  readonly #sessions = new TendedSessions(this.#sql);
  readonly #grants = new GrantUses(this.#sql);
  readonly #bytes: StoredBytes;
  readonly #tally = new KeptTally(this.ctx.storage);
  readonly #feed = new Feed("files", (id) => {
    const row = this.#files.find(id, Date.now());
    return row && toLine(row);
  });

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    migrate(ctx.storage, MIGRATIONS);
    this.#bytes = new StoredBytes(ctx.storage);
    if (!hasByteQuotas(env)) this.#bytes.end();
  }

  find(id: string): FoundFile | undefined {
    // By the clock of the catalogue, which has dated the versions too.
    const nowMs = Date.now();
    const row = this.#files.find(id, nowMs);
    return row && { ...row, last_modified_ms: lastModified(row.dated_at_ms, nowMs) };
  }

  list(prefix: string, after: string, limit: number, owner: string | null = null): FileRow[] {
    return this.#files.list({ prefix, after, limit, owner }, Date.now());
  }

  /** As `list`, of the files that were made from the file `source`. */
  listMadeFrom(
    source: string,
    prefix: string,
    after: string,
    limit: number,
    owner: string | null = null,
  ): FileRow[] {
    return this.#files.listMadeFrom(source, { prefix, after, limit, owner }, Date.now());
  }

  totals(fromMs: number, untilMs: number): FileTotals {
    return this.#files.totals(fromMs, untilMs, Date.now());
  }

  /**
   * Looks at the next `limit` files whose ids begin with `prefix` and come after `after`, and returns those that were
   * stored before a time. `next`: the id that was looked at last; null if there are no more.
   */
  listOlder(
    prefix: string,
    beforeMs: number,
    after: string,
    limit: number,
  ): { files: OldVersion[]; next: string | null } {
    const rows = this.list(prefix, after, limit);
    const files = rows.filter((row) => row.modified_at_ms < beforeMs);
    return {
      files: files.map(({ id, blob, size }) => ({ id, blob, size })),
      next: rows.length < limit ? null : (rows.at(-1)?.id ?? null),
    };
  }

  /** Removes these versions, unless another has taken their place. It can be repeated safely. */
  async removeVersions(versions: Pick<OldVersion, "id" | "blob">[]): Promise<void> {
    const nowMs = Date.now();
    this.ctx.storage.transactionSync(() => {
      for (const { id, blob } of versions) {
        const current = this.#files.find(id, nowMs);
        if (current?.blob === blob) this.#removeVersion(current, nowMs);
      }
    });
    await this.#setAlarm();
  }

  /**
   * Records a blob that will be written, and the multipart upload that writes it. Returns the id of that multipart
   * upload, also if an earlier call recorded it. `session`: the upload session that writes it, which is tended from then
   * on, first at `tendAtMs`.
   */
  async reserve(
    blob: string,
    uploadId: string | null,
    dueAtMs: number,
    session?: string,
    tendAtMs = Date.now() + TEND_AFTER_MS,
  ): Promise<string | null> {
    // A duplicate of this call may arrive late.
    if (this.#held.hasBlob(blob)) return null;
    const isNew = !this.#strays.has(blob);
    const recorded = this.#strays.reserve(blob, uploadId, dueAtMs);
    if (isNew && this.#strays.has(blob)) this.#tally.add("begun");
    if (session !== undefined) this.#sessions.add(blob, session, tendAtMs);
    await this.#setAlarm();
    return recorded;
  }

  /** The blob counts for so many bytes of its owner, from now on until it is a file or is gone. Returns what is used here. */
  async holdBytes(blob: string, owner: string | null, bytes: number, dueAtMs: number): Promise<ByteUse> {
    const isNew = !this.#strays.has(blob);
    this.#bytes.hold(blob, owner, bytes, dueAtMs);
    if (isNew && this.#strays.has(blob)) this.#tally.add("begun");
    await this.#setAlarm();
    return this.byteUse(owner);
  }

  /** A quota has no room for what the blob would hold besides these bytes. */
  refuseBytes(blob: string, owner: string | null, bytes: number, dueAtMs: number): ByteUse {
    this.#tally.add("over-quota");
    this.#bytes.hold(blob, owner, bytes, dueAtMs);
    return this.byteUse(owner);
  }

  byteUse(owner: string | null): ByteUse {
    return this.#bytes.use(owner, Date.now());
  }

  byteUses(owners: (string | null)[]): ByteUse[] {
    return owners.map((owner) => this.byteUse(owner));
  }

  /**
   * Makes files visible, all or none, if the preconditions hold for the current files. It can be repeated safely.
   * All files must belong to this shard. `grant`: they are counted in the same step. `holding`: they are held, and become
   * visible one by one when they are accepted. `bounds`: they replace no file beyond them.
   */
  async commit(
    files: NewFile[],
    preconditions: Preconditions,
    grant?: GrantRef,
    holding?: Hold,
    bounds?: Bounds,
  ): Promise<CommitResult> {
    const outcome = this.ctx.storage.transactionSync(() =>
      this.#commit(files, preconditions, Date.now(), { grant, holding, bounds }),
    );
    await this.#setAlarm();
    if (outcome.is !== "held") return outcome;
    await this.#startChecks(Date.now());
    const checks = files.map(({ blob }) => this.#held.find(versionOf(blob))?.checkTaskId ?? null);
    return { ...outcome, checks };
  }

  /** A file that is held; undefined if it is not, or no longer. */
  findHeld(version: string): HeldFile | undefined {
    return this.#held.find(version);
  }

  /** The newest `limit` files that are held, of those whose version is less than `below`. */
  listHeld(below: string, limit: number): HeldFile[] {
    return this.#held.list(below, limit);
  }

  /** Publishes or removes a file that is held. It can be repeated safely, and decides once. */
  async decide(version: string, decision: Decision): Promise<Decided> {
    const decided = this.ctx.storage.transactionSync(() => this.#decide(version, decision, Date.now()));
    await this.#setAlarm();
    return decided;
  }

  /** The task of a published file has been started. */
  forgetHeld(version: string): void {
    if (this.#held.find(version)?.isPublished) this.#held.delete(version);
  }

  /** A resumable upload, which will write the blob, holds a place of its grant from now on. */
  holdPlace(grant: GrantRef, blob: string): GrantRefusal | undefined {
    return this.#grants.change(grant, (use) => hold(use, grant.files, blob), Date.now());
  }

  /** An upload gives its place back, if it holds one. */
  releasePlace(grant: GrantRef, blob: string): void {
    this.#grants.change(grant, (use) => release(use, blob), Date.now());
  }

  /** From now on no file is stored with this grant. */
  revokeGrant(grant: GrantRef): void {
    this.#grants.change(grant, (use) => ({ ...use, isRevoked: true }), Date.now());
  }

  grantUse(id: string): GrantUse {
    return this.#grants.read(id);
  }

  /** Removes a file if the preconditions hold for the current version. Beyond the bounds, there is none. */
  async remove(
    id: string,
    preconditions: Preconditions,
    bounds?: Bounds,
  ): Promise<"removed" | "missing" | "precondition-failed"> {
    const outcome = this.ctx.storage.transactionSync(() => {
      const nowMs = Date.now();
      const current = this.#files.find(id, nowMs);
      // Before the preconditions (RFC 9110 §13.2.1): without them this would be a 404 as well.
      if (!current || !isWithin(bounds, current)) return "missing";
      if (evaluatePreconditions(preconditions, validatorsOf(current), false) === "failed")
        return "precondition-failed";
      this.#removeVersion(current, nowMs);
      return "removed";
    });
    await this.#setAlarm();
    return outcome;
  }

  /**
   * Makes a blob that was reserved and not committed due for collection now. Its session, if it has one, has ended. `why`:
   * what was wrong with it, for the metrics.
   */
  async discard(blob: string, why: "digest" | "other" = "other"): Promise<void> {
    // The session of an upload ends before the file that it was is decided about.
    if (!this.#held.hasBlob(blob) && this.#strays.discard(blob, Date.now())) {
      this.#tally.add(keyOf("broken-off", why));
      if (why === "digest") this.#tally.add(keyOf("checksum", "file"));
    }
    this.#sessions.delete(blob);
    await this.#setAlarm();
  }

  /** For the metrics: the bytes of a request did not have their checksum. Its upload goes on. */
  countWrongChunk(): void {
    this.#tally.add(keyOf("checksum", "chunk"));
  }

  /**
   * For the watchdog: sets the alarm if it was lost, and tends upload sessions. Returns by how many ms the alarm is
   * overdue; 0 if it is not.
   */
  async rearm(): Promise<number> {
    await this.#setAlarm();
    const lateMs = Date.now() - ((await this.ctx.storage.getAlarm()) ?? Date.now());
    await this.#sessions.tend(this.env);
    return lateMs > COLLECT_RETRY_MS ? lateMs : 0;
  }

  /** What happens to all files: see `Feed`. */
  watchAll(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#feed.watch(caller);
  }

  /** For `GET /metrics`. */
  async figures(): Promise<Figures> {
    const nowMs = Date.now();
    const { reserved, due } = this.#strays.count(nowMs, MAX_COUNTED);
    const lateMs = nowMs - ((await this.ctx.storage.getAlarm()) ?? nowMs);
    const strays = { [keyOf("strays", "reserved")]: reserved, [keyOf("strays", "due")]: due };
    return { counts: this.#tally.read(nowMs), gauges: { ...strays, overdue: Math.max(0, lateMs) / 1000 } };
  }

  /** Removes a batch of what is due; the next alarm, which is then due now, removes the next. Never throws, because the runtime abandons an alarm that fails too often. */
  override async alarm(info?: AlarmInvocationInfo): Promise<void> {
    if (info) this.#tally.addDuration("alarm", Date.now() - info.scheduledTime);
    try {
      await this.#startChecks(Date.now());
      await this.#collect(Date.now());
      await this.#setAlarm();
    } catch (error) {
      log("error", "files could not be collected; next try in a minute", errorFields(error));
      await this.ctx.storage.setAlarm(Date.now() + COLLECT_RETRY_MS);
    }
  }

  #commit(
    files: NewFile[],
    preconditions: Preconditions,
    nowMs: number,
    { grant, holding, bounds }: CommitTerms,
  ): CommitResult {
    const before = files.map(({ id }) => this.#files.find(id, nowMs));
    if (files.every(({ blob }, i) => before[i]?.blob === blob)) {
      const rows = before.filter((row) => row !== undefined);
      return { is: rows.some((row) => row.is_replacement === 1) ? "replaced" : "created", rows };
    }
    if (holding && files.every(({ blob }) => this.#held.hasBlob(blob))) return heldResult(files, nowMs);
    if (!files.every(({ blob }) => this.#strays.isReserved(blob, nowMs))) return { is: "unreserved" };
    if (before.some((row) => row && !isWithin(bounds, row))) return { is: "out-of-bounds" };
    if (
      before.some((row) => evaluatePreconditions(preconditions, row && validatorsOf(row), false) === "failed")
    ) {
      return { is: "precondition-failed" };
    }
    const blobs = files.map(({ blob }) => blob);
    const refusal = grant && this.#grants.change(grant, (use) => store(use, grant.files, blobs), nowMs);
    if (refusal) return { is: "refused", refusal };
    if (holding) {
      for (const file of files) {
        this.#held.add(file, preconditions, holding, nowMs);
        this.#strays.postpone(file.blob, nowMs + HELD_MS);
      }
      return heldResult(files, nowMs);
    }
    const rows = files.map((file) => this.#put(file, nowMs));
    for (const { size } of files) {
      this.#tally.add("finished");
      this.#tally.add("bytes", size);
    }
    return { is: before.some((row) => row) ? "replaced" : "created", rows };
  }

  #decide(version: string, decision: Decision, nowMs: number): Decided {
    const held = this.#held.find(version);
    if (!held) return { is: "gone" };
    const { file, preconditions, task, heldAtMs } = held;
    if (held.isPublished) return { is: "published", file, task };
    if (!this.#strays.isReserved(file.blob, nowMs)) return { is: "gone" };
    const current = this.#files.find(file.id, nowMs);
    const holds = evaluatePreconditions(preconditions, current && validatorsOf(current), false) !== "failed";
    if (!decision.accepted || !holds) {
      this.#removeHeld(held, nowMs);
      return { is: "refused" };
    }
    this.#put(file, nowMs, heldAtMs);
    this.#tally.add("finished");
    this.#tally.add("bytes", file.size);
    if (task === null) this.#held.delete(version);
    else this.#held.notePublished(version);
    return { is: "published", file, task };
  }

  #removeHeld({ file }: HeldFile, nowMs: number): void {
    this.#held.delete(versionOf(file.blob));
    this.#strays.discard(file.blob, nowMs);
  }

  /** Each is started once, by its key, however often this is interrupted: the alarm goes on with it. */
  async #startChecks(nowMs: number): Promise<void> {
    for (const held of this.#held.unchecked(nowMs)) {
      const version = versionOf(held.file.blob);
      try {
        this.#held.noteChecked(version, await startCheck(held));
      } catch (error) {
        log("error", "the check of a file could not be started; next try in a minute", errorFields(error));
        this.#held.checkLater(version, Date.now() + CHECK_RETRY_MS);
      }
    }
  }

  /** `sentAtMs`: when it was uploaded. What was before that and is still held, is superseded. */
  #put(file: NewFile, nowMs: number, sentAtMs = nowMs): FileRow {
    for (const older of this.#held.before(file.id, sentAtMs)) this.#removeHeld(older, nowMs);
    this.#strays.delete(file.blob);
    const before = this.#files.version(file.id);
    if (before) this.#strays.add(before.blob, nowMs);
    const isReplacement = before && (before.expires_at_ms ?? Number.POSITIVE_INFINITY) > nowMs;
    const row = {
      ...file,
      source: file.source ?? null,
      source_task: file.source_task ?? null,
      owner: file.owner ?? null,
      metadata: file.metadata ?? null,
      modified_at_ms: nowMs,
      dated_at_ms: dateOf(nowMs, before ? endOf(before, nowMs) : this.#ended.find(file.id)),
      is_replacement: isReplacement ? 1 : 0,
    };
    this.#files.put(row);
    this.#feed.notify(row.id);
    return row;
  }

  #removeVersion(row: FileVersion, nowMs: number): void {
    this.#files.delete(row.id);
    this.#strays.add(row.blob, nowMs);
    this.#ended.add(row.id, endOf(row, nowMs), nowMs);
    this.#feed.notify(row.id);
  }

  async #collect(nowMs: number): Promise<void> {
    this.#ended.clear(nowMs);
    const due = this.ctx.storage.transactionSync(() => {
      for (const row of this.#files.expired(nowMs, COLLECT_BATCH)) this.#removeVersion(row, nowMs);
      return this.#strays.due(nowMs, COLLECT_BATCH);
    });
    if (due.length === 0) return;
    for (const { blob, upload_id } of due) {
      if (upload_id !== null) await this.#abort(blob, upload_id);
    }
    await this.env.FILES.delete(due.map(({ blob }) => blob));
    for (const { blob } of due) {
      this.#held.delete(versionOf(blob));
      this.#strays.delete(blob);
    }
  }

  /** R2 rejects the abort of an upload that is completed or aborted. After seven days it aborts by itself. */
  async #abort(blob: string, uploadId: string): Promise<void> {
    await Promise.allSettled([this.env.FILES.resumeMultipartUpload(blob, uploadId).abort()]);
  }

  /** Sets the alarm to whatever is due next. */
  async #setAlarm(): Promise<void> {
    const { due } = this.#sql
      .exec<{ due: number | null }>(
        `SELECT MIN(due) AS due FROM (
           SELECT MIN(due_at_ms) AS due FROM stray
           UNION ALL SELECT MIN(check_at_ms) FROM held WHERE check_at_ms IS NOT NULL
           UNION ALL SELECT MIN(expires_at_ms) FROM file WHERE expires_at_ms IS NOT NULL)`,
      )
      .one();
    // An alarm that fires too early costs less than one that is set again with each file.
    const set = await this.ctx.storage.getAlarm();
    if (due === null) return;
    this.#registration.ensure();
    if (set === null || due < set) await this.ctx.storage.setAlarm(due);
  }
}

markRepeatable(
  FileCatalogue,
  "find",
  "list",
  "listMadeFrom",
  "listOlder",
  "removeVersions",
  "reserve",
  "holdBytes",
  "byteUse",
  "byteUses",
  "refuseBytes",
  "commit",
  "findHeld",
  "listHeld",
  "decide",
  "forgetHeld",
  "holdPlace",
  "releasePlace",
  "revokeGrant",
  "grantUse",
  "discard",
  "figures",
);

/** Files as they will be, for the response to their upload. */
const heldResult = (files: NewFile[], nowMs: number): CommitResult => ({
  is: "held",
  rows: files.map((file) => ({ ...file, modified_at_ms: nowMs, dated_at_ms: nowMs, is_replacement: 0 })),
  checks: [],
});

/** A version that is no longer current from now on, or since it expired. */
const endOf = ({ dated_at_ms, expires_at_ms }: FileVersion, nowMs: number): PreviousVersion => ({
  datedAtMs: dated_at_ms,
  endedAtMs: Math.min(nowMs, expires_at_ms ?? nowMs),
});
