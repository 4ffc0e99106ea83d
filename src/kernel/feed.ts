/**
 * What happens to the things that an object keeps (tasks, files, schedules), for those that watch all of them
 * (broadcast.ts): those that were added or have changed, as a list has them, and the ids of those that were removed.
 *
 * Nothing is kept for a reader, and nothing is noted while there is none. A reader that is new, or has missed something, is
 * told so by `reset`, and reads the list.
 */
import { Broadcast, type News } from "./broadcast.ts";

/** More changes than this between two events are not listed: reading the list anew costs a reader less. */
const MAX_LISTED = 200;

export class Feed<Line> {
  readonly #kind: string;
  readonly #read: (id: string) => Line | undefined;
  readonly #changed = new Set<string>();
  readonly #broadcast = new Broadcast({ whole: () => this.#reset(), changes: () => this.#takeChanges() });

  /** `kind`: the name of the event, and of its list. `read` returns a thing as it is now; undefined if there is none. */
  constructor(kind: string, read: (id: string) => Line | undefined) {
    this.#kind = kind;
    this.#read = read;
  }

  /** A stream of the events `reset` and that of the kind; "too-many" if the caller has its share of them. */
  watch(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#broadcast.subscribe(caller);
  }

  /** Something has happened to a thing. */
  notify(id: string): void {
    if (!this.#broadcast.hasReaders) return;
    // One more says that there are too many.
    if (this.#changed.size <= MAX_LISTED) this.#changed.add(id);
    this.#broadcast.notify();
  }

  #reset(): News {
    return { event: "reset", data: { of: this.#kind } };
  }

  #takeChanges(): News {
    const ids = [...this.#changed];
    this.#changed.clear();
    if (ids.length > MAX_LISTED) return this.#reset();
    const lines: Line[] = [];
    const removed: string[] = [];
    for (const id of ids) {
      const line = this.#read(id);
      if (line === undefined) removed.push(id);
      else lines.push(line);
    }
    return { event: this.#kind, data: { [this.#kind]: lines, removed } };
  }
}
