/** The readers that wait for something to happen to a task, in the ledger's memory. */
export class Watchers {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Wakes everyone who waits for this task. */
  notify(taskId: string): void {
    const waiting = this.#waiting.get(taskId);
    if (!waiting) return;
    this.#waiting.delete(taskId);
    for (const wake of waiting) wake();
  }

  /** Resolves when something happens to the task, or after `ms`. */
  async next(taskId: string, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(taskId) ?? new Set();
    this.#waiting.set(taskId, waiting.add(resolve));
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
    waiting.delete(resolve);
    if (waiting.size === 0 && this.#waiting.get(taskId) === waiting) this.#waiting.delete(taskId);
  }
}
