/**
 * What happens to the tasks of a ledger, for those that watch all of them (broadcast.ts): the tasks that were added or have
 * changed, as a list has them, and the ids of those that were removed.
 *
 * Nothing is kept for a reader. One that is new, or has missed something, is told so by `reset`, and reads the list.
 */
import { Broadcast, type News } from "../../kernel/broadcast.ts";
import { type TaskLine, type TaskRow, toLine } from "./schema.ts";

/** More changes than this between two events are not listed: reading the list anew costs a reader less. */
const MAX_LINES = 200;
const RESET: News = { event: "reset", data: {} };

/** The data of an event `tasks`. */
interface Changes {
  tasks: TaskLine[];
  removed: string[];
}

export class Feed {
  readonly #read: (taskId: string) => TaskRow | undefined;
  readonly #changed = new Set<string>();
  readonly #broadcast = new Broadcast({ whole: () => RESET, changes: () => this.#takeChanges() });

  /** `read` returns a task as it is now. */
  constructor(read: (taskId: string) => TaskRow | undefined) {
    this.#read = read;
  }

  /** A stream of the events `tasks` and `reset`; "too-many" if the caller has its share of them. */
  watch(caller: string): ReadableStream<Uint8Array> | "too-many" {
    return this.#broadcast.subscribe(caller);
  }

  /** Something has happened to a task. */
  notify(taskId: string): void {
    if (!this.#broadcast.hasReaders) return;
    // One more says that there are too many.
    if (this.#changed.size <= MAX_LINES) this.#changed.add(taskId);
    this.#broadcast.notify();
  }

  #takeChanges(): News {
    const ids = [...this.#changed];
    this.#changed.clear();
    if (ids.length > MAX_LINES) return RESET;
    const data: Changes = { tasks: [], removed: [] };
    for (const id of ids) {
      const row = this.#read(id);
      if (row) data.tasks.push(toLine(row));
      else data.removed.push(id);
    }
    return { event: "tasks", data };
  }
}
