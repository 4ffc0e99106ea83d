/**
 * The memory that all uploads of an isolate have for their parts, and for what they read into. An isolate has 128 MB for
 * everything, the objects of a class share one too, and the platform ends it, with all that runs in it, when it takes
 * more.
 *
 * An upload takes a share before it reads its body, and waits until there is one; meanwhile its client cannot send. It
 * waits only while it holds nothing, so uploads cannot wait for each other in a circle. The second buffer, with which
 * it fills one part while the other is sent, is taken only if it is there at once; without it, the upload is slower.
 *
 * Two rules of the runtime shape this. A request is ended as hung if only another request could wake it: so whoever
 * waits looks again and again, by a timer of its own. And a request that the runtime ends runs nothing more, not even
 * `finally`: so a share whose holder has not been seen for a while is free again.
 */

import { Problem } from "../../kernel/problem.ts";

const MIB = 1024 * 1024;
const LIMIT = 64 * MIB;
/** Slow clients may hold all of it. Then a client must hear so, before its own patience ends. */
const MAX_WAIT_MS = 60_000;
const POLL_MS = 50;
const SIGN_OF_LIFE_MS = 2_000;
const LOST_MS = 10_000;

export interface Share {
  release(): void;
}

const NOTHING: Share = { release: () => {} };

interface Claim {
  readonly bytes: number;
  isHeld: boolean;
  seenAtMs: number;
}

/** Not the time of day, which may be set back. */
const nowMs = () => performance.now();

export class MemoryBudget {
  readonly #limit: number;
  /** Those that are held and those that wait, in the order in which they came. */
  readonly #claims = new Set<Claim>();

  readonly #maxWaitMs: number;

  /** `limit` is in bytes. */
  constructor(limit = LIMIT, maxWaitMs = MAX_WAIT_MS) {
    this.#limit = limit;
    this.#maxWaitMs = maxWaitMs;
  }

  /**
   * Waits for its turn. The caller must not hold a share. More than the limit is granted when nobody else has any. Once
   * `stopped` is aborted, it grants nothing, and does not wait. Throws a `Problem` 503 after a minute.
   */
  async take(bytes: number, stopped?: AbortSignal): Promise<Share> {
    if (bytes === 0) return NOTHING;
    const claim = { bytes, isHeld: false, seenAtMs: nowMs() };
    const endsAtMs = nowMs() + this.#maxWaitMs;
    this.#claims.add(claim);
    while (!this.#mayHold(claim)) {
      if (stopped?.aborted) {
        this.#claims.delete(claim);
        return NOTHING;
      }
      if (nowMs() > endsAtMs) {
        this.#claims.delete(claim);
        throw uploadsBusy();
      }
      await scheduler.wait(POLL_MS);
      claim.seenAtMs = nowMs();
      this.#claims.add(claim);
    }
    return this.#hold(claim);
  }

  /** A share if there is one now, nobody waits, and `spare` bytes are left; else undefined. The caller may hold others. */
  takeNow(bytes: number, spare = 0): Share | undefined {
    const claim = { bytes, isHeld: false, seenAtMs: nowMs() };
    this.#claims.add(claim);
    if (this.#mayHold(claim, spare)) return this.#hold(claim);
    this.#claims.delete(claim);
    return undefined;
  }

  #mayHold(claim: Claim, spare = 0): boolean {
    for (const other of this.#claims) if (nowMs() - other.seenAtMs > LOST_MS) this.#claims.delete(other);
    // Those before it that wait have precedence.
    const all = [...this.#claims];
    if (all.find(({ isHeld }) => !isHeld) !== claim) return false;
    const held = all.reduce((sum, { isHeld, bytes }) => sum + (isHeld ? bytes : 0), 0);
    return held === 0 || held + claim.bytes + spare <= this.#limit;
  }

  #hold(claim: Claim): Share {
    claim.isHeld = true;
    const timer = setInterval(() => {
      claim.seenAtMs = nowMs();
      // The isolate may have been too busy to give a sign of life in time.
      this.#claims.add(claim);
    }, SIGN_OF_LIFE_MS);
    return {
      release: () => {
        clearInterval(timer);
        this.#claims.delete(claim);
      },
    };
  }
}

const uploadsBusy = () =>
  new Problem("uploads-busy", "Other uploads have all the memory that there is here. Send it again later.", {
    headers: { "Retry-After": "10" },
  });

/** For all uploads of this isolate. */
export const uploadMemory = new MemoryBudget();
