/** A binary heap of what happens when: the earliest first. */
interface Timed {
  atMs: number;
}

export class Heap<T extends Timed> {
  readonly #items: T[] = [];

  get first(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    for (let above = (at - 1) >> 1; at > 0 && this.#atMs(above) > item.atMs; above = (at - 1) >> 1) {
      this.#swap(at, above);
      at = above;
    }
  }

  /** Removes the first. */
  pop(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    items[0] = last;
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const least = this.#atMs(right) < this.#atMs(left) ? right : left;
      if (this.#atMs(least) >= this.#atMs(at)) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const [one, two] = [this.#items[a], this.#items[b]];
    if (one && two) [this.#items[a], this.#items[b]] = [two, one];
  }

  #atMs(at: number): number {
    return this.#items[at]?.atMs ?? Infinity;
  }
}
