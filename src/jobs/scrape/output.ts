/**
 * A file that a task writes in pieces, each of them once, over crashes and hand-overs.
 *
 * The file is a draft, whose offset is durable. Where the work is, is the task's checkpoint. The two cannot be written in one
 * transaction, so before a piece is appended the checkpoint says what is about to happen: where the work is after the
 * piece, how long the piece is, and what to do again if it did not arrive. A later run compares the draft's offset with
 * that: at the piece's end, it goes on after it; at its beginning, the piece was lost with its run.
 *
 * Invariant: the draft has exactly the pieces of the position that `open` returns.
 */
import { openDraft } from "../../files/index.ts";
import { NonRetryableError, type TaskContext } from "../../tasks/index.ts";

interface Saved<Position, Redo> {
  position: Position;
  redo: Redo;
  /** Of the draft, before the piece. */
  offset: number;
  /** Of the piece. */
  length: number;
}

interface Spec {
  id: string;
  filename: string;
  contentType: string;
}

type Draft = Awaited<ReturnType<typeof openDraft>>;

export class Output<Position, Redo> {
  readonly #ctx: TaskContext;
  readonly #draft: Draft;
  /** Where the work was when an earlier run recorded it last; undefined in the first run. */
  readonly position: Position | undefined;
  /** What must be done again: the piece of it did not arrive. */
  readonly redo: Redo | undefined;

  private constructor(ctx: TaskContext, draft: Draft, saved?: Saved<Position, Redo>, isLost = false) {
    this.#ctx = ctx;
    this.#draft = draft;
    this.position = saved?.position;
    this.redo = isLost ? saved?.redo : undefined;
  }

  /** `ctx` is the task's: its checkpoint belongs to this file from here on. */
  static async open<Position, Redo>(env: Env, ctx: TaskContext, spec: Spec): Promise<Output<Position, Redo>> {
    const draft = await openDraft(env, { ...spec, task: ctx.taskId });
    const saved = ctx.checkpoint<Saved<Position, Redo>>();
    if (!saved) return new Output(ctx, draft);
    const { offset, length } = saved;
    if (draft.offset === offset + length) return new Output(ctx, draft, saved);
    if (draft.offset === offset) return new Output(ctx, draft, saved, true);
    throw new NonRetryableError(
      `the file ${spec.id} has ${draft.offset} bytes instead of ${offset + length}: something else has written to it. Start a new task.`,
    );
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#draft.offset;
  }

  /** Appends a piece, which brings the work to `position`. Resolves when both are durable. */
  async write(piece: Uint8Array, position: Position, redo: Redo): Promise<void> {
    const { length } = piece;
    await this.#ctx.saveCheckpoint({ position, redo, offset: this.#draft.offset, length } satisfies Saved<
      Position,
      Redo
    >);
    if (length > 0) await this.#draft.append(piece);
  }

  /** Makes the file visible. */
  async finish() {
    return this.#draft.finish();
  }
}
