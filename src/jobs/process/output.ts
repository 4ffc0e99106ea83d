/**
 * A file that a job makes from a stream of pieces, over as many runs as it takes.
 *
 * Invariant: the file has the bytes that one run without interruption would have written. Before bytes are appended to the
 * draft, the states before and after them are saved; a run that goes on takes the latest of them that the draft has
 * reached, and skips what the draft has beyond it. A short file is stored at once, without draft and checkpoint.
 */
import { env } from "cloudflare:workers";
import { type FileInfo, type FileSpec, openDraft, saveFile } from "../../files/index.ts";
import type { TaskContext } from "../../tasks/index.ts";

/** A part of the file, and from where the stream goes on after it. */
export interface Piece<State> {
  /** Valid until the next piece is asked for. */
  bytes: Uint8Array;
  /** JSON. Called, at most once, before the next piece is asked for. */
  state: () => State;
  /** What it took, in the unit of the job's limit for one run. */
  cost: number;
}

/** What is appended at once: it is in memory. In bytes. */
const BATCH_BYTES = 8 * 1024 * 1024;

interface Place<State> {
  /** In the output. */
  offset: number;
  /** Undefined at the beginning. */
  state?: State;
}

/** What is saved: where the output may be, and the sha256 of the source, which must not change meanwhile. */
interface Checkpoint<State> {
  version: string;
  places: Place<State>[];
}

/** The version of the source that this task has begun with, if it has. */
export function startedVersion(ctx: TaskContext): { sha256?: string } {
  const saved = ctx.checkpoint<Checkpoint<unknown>>();
  return saved ? { sha256: saved.version } : {};
}

interface Options<State> {
  /** Of the source. */
  version: string;
  /** The pieces from a state on, or from the beginning. */
  pieces: (from: State | undefined) => AsyncIterable<Piece<State>>;
  /** Counts the cost of what is done, and hands the task over in time: a run budget. */
  spend: (cost: number) => Promise<void>;
  /** Called after each batch. */
  onProgress: (state: State) => void;
  batchBytes?: number | undefined;
}

/** Writes the file, and resolves to what is known about it. What `pieces` throws leaves a draft, with which the next run goes on. */
export async function writeOutput<State>(
  ctx: TaskContext,
  spec: FileSpec,
  { version, pieces, spend, onProgress, batchBytes = BATCH_BYTES }: Options<State>,
): Promise<FileInfo> {
  const saved = ctx.checkpoint<Checkpoint<State>>();
  let draft = saved && (await openDraft(env, spec));
  if (draft?.file) return draft.file;
  const reached = draft?.offset ?? 0;
  let place: Place<State> = saved?.places.findLast(({ offset }) => offset <= reached) ?? { offset: 0 };
  let batch: Uint8Array[] = [];
  let size = 0;
  let cost = 0;
  const append = async () => {
    draft ??= await openDraft(env, spec);
    const bytes = Buffer.concat(batch).subarray(Math.max(0, draft.offset - place.offset));
    if (bytes.length > 0) await draft.append(bytes);
  };
  for await (const piece of pieces(place.state)) {
    ctx.signal.throwIfAborted();
    batch.push(Uint8Array.from(piece.bytes));
    size += piece.bytes.length;
    cost += piece.cost;
    if (size < batchBytes) continue;
    const next = { offset: place.offset + size, state: piece.state() };
    await ctx.saveCheckpoint({ version, places: [place, next] });
    await append();
    place = next;
    onProgress(next.state);
    const spent = cost;
    [batch, size, cost] = [[], 0, 0];
    await spend(spent);
  }
  if (!draft) return saveFile(env, spec, Buffer.concat(batch), { signal: ctx.signal });
  await append();
  return draft.finish();
}
