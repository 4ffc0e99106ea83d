/**
 * A mutex in which the newest caller has precedence: it stops the current holder, waits until that has finished, and
 * then begins. If several callers wait, the last one keeps the lock; the others are stopped as soon as they begin.
 */
export class PreemptiveLock {
  #holder: { controller: AbortController; released: Promise<void> } | undefined;

  /** Runs `work` alone. It should finish soon after its signal is aborted. */
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
