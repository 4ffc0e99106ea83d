/** From the last byte to the file, for a session, with the steps of completion.ts. */
import { HEAD_SIZE, HeadCheck } from "../store/content.ts";
import { completeInR2, publish } from "./completion.ts";
import { unpinPartials } from "./concatenation.ts";
import { CHECK_MS } from "./final-upload.ts";
import type { PinsOfPartial } from "./pins.ts";
import type { HashMemory } from "./running-hash.ts";
import type { SessionRecord, SessionStorage } from "./session-storage.ts";
import { type Outcome, toSnapshot } from "./snapshot.ts";

/** What completing an upload needs of its session. */
export interface CompletingSession {
  ctx: DurableObjectState;
  env: () => Env;
  storage: SessionStorage;
  hash: HashMemory;
  pins: PinsOfPartial;
  /** Ends the upload, and removes its bytes. `why`: what was wrong with them, for the metrics. */
  end: (record: SessionRecord, why?: "digest") => Promise<void>;
}

/** The hash of a long upload is being computed anew, and the alarm goes on with it. */
export class StillReadingBack extends Error {
  override readonly name = "StillReadingBack";
}

/** An earlier run may have done any of the steps without recording it. */
export async function completeUpload(session: CompletingSession, record: SessionRecord): Promise<Outcome> {
  const { ctx, env, storage, pins } = session;
  await ctx.storage.setAlarm(Date.now() + CHECK_MS);
  let completed = record;
  if (record.phase !== "publishing") {
    const unfit = unfitShort(storage, record);
    if (unfit) {
      await session.end(record);
      return unfit;
    }
    await completeInR2(env(), storage, record);
    const sha256 = await sha256Of(session, record);
    if (record.expected && record.expected.sha256 !== sha256) {
      await session.end(record, "digest");
      return { is: "wrong-digest", header: record.expected.header };
    }
    completed = { ...record, phase: "publishing", sha256, hash: null, uploadId: null };
    storage.saveCompleted(completed);
  }
  const published = await publish(env(), completed);
  if (typeof published === "string") {
    await session.end(completed);
    return { is: "refused", refusal: published };
  }
  // The alarm tries again.
  if (!published) return { is: "accepted", upload: toSnapshot(completed), taskFailed: true };
  storage.save(published);
  await unpinPartials(env(), published);
  // If this is interrupted, the alarm that is set already notifies them.
  if (!pins.notify(published)) await ctx.storage.setAlarm(published.expiresAtMs);
  return { is: "accepted", upload: toSnapshot(published) };
}

/** Of so few bytes, all of which are in the tail, that only now there is something to say about them. */
function unfitShort(
  storage: SessionStorage,
  { offset, contentType, fitsBy: by }: SessionRecord,
): Extract<Outcome, { is: "unfit" }> | undefined {
  if (by === undefined || offset >= HEAD_SIZE) return undefined;
  const head = new HeadCheck(contentType);
  for (const block of storage.tailBlocks()) head.update(block);
  const why = head.finish();
  return why === undefined ? undefined : { is: "unfit", why, by };
}

/** Of an upload that is complete in R2; null if it is not hashed. */
async function sha256Of(
  { ctx, env, hash }: CompletingSession,
  record: SessionRecord,
): Promise<string | null> {
  const known = hash.digest(record);
  if (known !== undefined) return known;
  const read = await hash.readBack(env().FILES, record.blob, record);
  if (read !== undefined) return read;
  // Before this object is evicted, which would have to begin again.
  await ctx.storage.setAlarm(Date.now());
  throw new StillReadingBack();
}
