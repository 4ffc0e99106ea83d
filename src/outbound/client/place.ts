/** A waiter's place: in the queue of the semaphore, and in the line of its isolate while it is a successor. */
import type { WaitResult } from "../semaphore/ticket.ts";
import type { Priority } from "../semaphore/wait-queue.ts";
import type { Offer, SharedLease } from "./hand-over.ts";
import type { Line, Successor } from "./isolate.ts";

/** `late`: how the wait ends that is over already. */
type Taken = { is: "taken"; lease: SharedLease; number: number; late: Promise<WaitResult> };
type Waited = Exclude<WaitResult, { is: "told" }> | Taken;

export class Place implements Successor {
  readonly priority: Priority;
  turn = 0;
  readonly #line: Line;
  #offered = Promise.withResolvers<Offer>();
  #offer: Offer | undefined;
  /** Its turn, as the semaphore has told last; undefined if it is no successor. */
  #told: number | undefined;

  constructor(priority: Priority, line: Line) {
    this.priority = priority;
    this.#line = line;
  }

  offer(offer: Offer): void {
    this.#offer = offer;
    this.#offered.resolve(offer);
  }

  /** Waits until the semaphore decides, or a holder hands on its permit. `turn`: as the semaphore has told. */
  async wait(wait: () => Promise<WaitResult>, turn: number | undefined): Promise<Waited> {
    this.#stand(turn);
    for (let waiting = wait(); ; ) {
      const result = await Promise.race([this.#offered.promise, waiting]);
      if ("lease" in result && !("is" in result)) {
        const number = result.take();
        if (number !== undefined) return { is: "taken", lease: result.lease, number, late: waiting };
        // It came too late, and takes its turn again: the holder has removed it from the line.
        this.#offered = Promise.withResolvers();
        this.#stand(this.#told);
      } else if (result.is === "told") {
        this.#stand(result.turn);
        waiting = wait();
      } else return result;
    }
  }

  /** It needs no permit, or none of the isolate. */
  leave(): void {
    this.#line.leave(this);
    this.#offer?.decline();
  }

  #stand(turn: number | undefined): void {
    this.#line.leave(this);
    this.#told = turn;
    if (turn === undefined) return;
    this.turn = turn;
    this.#line.join(this);
  }
}
