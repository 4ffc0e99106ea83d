/**
 * The pins of a partial upload: which final uploads need its bytes, and until when they are kept for each. Those that hold
 * one are told how the partial upload goes on.
 */

import { type Piece, pinnedUntilMs } from "./append-rules.ts";
import { toPiece } from "./pieces.ts";
import type { SessionRecord, SessionStorage } from "./session-storage.ts";

/** How long a pin lasts when its partial upload should have expired: it may be read just then. */
const PIN_GRACE_MS = 12 * 60 * 60 * 1000;

/** Tells the final uploads what has become of the partial one, in the background; null: it is gone. */
type Notify = (holders: string[], source: string, piece: Piece | null) => void;

export class PinsOfPartial {
  readonly #storage: SessionStorage;
  readonly #notify: Notify;

  constructor(storage: SessionStorage, notify: Notify) {
    this.#storage = storage;
    this.#notify = notify;
  }

  /** The partial upload for the holder; undefined if it has ended, unless the holder pinned it before. */
  add(record: SessionRecord, holder: string): Piece | undefined {
    const untilMs = this.#storage.loadPins().get(holder) ?? 0;
    if (record.phase === "ended" && untilMs <= Date.now()) return undefined;
    const piece = toPiece(record);
    this.#storage.savePin(holder, piece.expiresAtMs + PIN_GRACE_MS);
    return piece;
  }

  remove(holders: Iterable<string>): void {
    this.#storage.deletePins(holders);
  }

  removeAll(): void {
    this.remove(this.#storage.loadPins().keys());
  }

  /** Until when the bytes are kept; 0 if nobody needs them. */
  heldUntilMs(): number {
    return pinnedUntilMs(this.#storage.loadPins());
  }

  /** Tells the holders; false if there are none. */
  notify(record: SessionRecord, piece: Piece | null = toPiece(record)): boolean {
    const holders = record.kind === "partial" ? [...this.#storage.loadPins().keys()] : [];
    if (holders.length > 0) this.#notify(holders, record.id, piece);
    return holders.length > 0;
  }
}
