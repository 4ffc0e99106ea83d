/**
 * One at a time, and the newest first: whoever comes stops the one who is at work, waits until that has come to an
 * end, and begins. Of several who wait, the last one works on; the others are stopped as soon as they begin.
 */
export class PreemptiveLock {
  #holder: { controller: AbortController; released: Promise<void> } | undefined;

  /** Runs the work alone. It should end soon after its signal is aborted. */
  async run<T>(work: (stopped: AbortSignal) => Promise<T>): Promise<T> {
    while (this.#holder) {
      this.#holder.controller.abort();
      await this.#holder.released;
    }
    const controller = new AbortController();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    this.#holder = { controller, released };
    try {
      return await work(controller.signal);
    } finally {
      this.#holder = undefined;
      release();
    }
  }
}
