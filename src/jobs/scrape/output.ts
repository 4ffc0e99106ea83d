/**
 * A file that a task writes in pieces, each of them once, over crashes and hand-overs.
 *
 * The file is a draft, whose offset is durable. Where the work is, is the task's checkpoint. The two cannot be written in one
 * transaction, so before a piece is appended the checkpoint says what is about to happen: where the work is after the
 * piece, how long the piece is, and what to do again if it did not arrive. A later run compares the draft's offset with
 * that: at the piece's end, it goes on after it; at its beginning, the piece was lost with its run.
 *
 * A draft may also end in the middle of the piece, if what stores it died just then, or be gone, if nothing was written to it
 * for a day. Then the work begins anew.
 *
 * Invariant: the draft has exactly the pieces of the position that `open` returns.
 */
import { type Draft, openDraft } from "../../files/index.ts";
import type { TaskContext } from "../../tasks/index.ts";

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

export class Output<Position, Redo> {
  readonly #ctx: TaskContext;
  readonly #draft: Draft;
  /** Where the work was when an earlier run recorded it last; undefined if it begins. */
  readonly position: Position | undefined;
  /** What must be done again: the piece of it did not arrive. */
  readonly redo: Redo | undefined;

  private constructor(ctx: TaskContext, draft: Draft, saved?: Saved<Position, Redo>) {
    this.#ctx = ctx;
    this.#draft = draft;
    this.position = saved?.position;
    if (saved && saved.length > 0 && draft.offset === saved.offset) this.redo = saved.redo;
  }

  /** The task's checkpoint belongs to this file from here on. */
  static async open<Position, Redo>(env: Env, ctx: TaskContext, spec: Spec): Promise<Output<Position, Redo>> {
    const open = async () => openDraft(env, { ...spec, task: ctx.taskId });
    const draft = await open();
    const saved = ctx.checkpoint<Saved<Position, Redo>>();
    if (!saved || [saved.offset, saved.offset + saved.length].includes(draft.offset))
      return new Output(ctx, draft, saved);
    ctx.log("info", "The file of a task is not as its checkpoint says: it begins anew.", {
      fileId: spec.id,
      offset: draft.offset,
      expected: saved.offset + saved.length,
    });
    await draft.discard();
    return new Output(ctx, await open());
  }

  /** The work is done, and the file is visible: an earlier run was cut just after that. */
  get isFinished(): boolean {
    return this.#draft.file !== undefined;
  }

  /** Appends a piece, which brings the work to `position`. Resolves when both are durable. */
  async write(piece: Uint8Array, position: Position, redo: Redo): Promise<void> {
    const { length } = piece;
    const saved: Saved<Position, Redo> = { position, redo, offset: this.#draft.offset, length };
    await this.#ctx.saveCheckpoint(saved);
    if (length > 0) await this.#draft.append(piece);
  }

  /** Makes the file visible. */
  async finish() {
    return this.#draft.finish();
  }
}
