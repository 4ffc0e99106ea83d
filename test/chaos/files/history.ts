/**
 * What the server has said of each upload, in the order in which the clients heard it.
 *
 * Every answer with an `Upload-Offset` is two things: an acknowledgement, which binds all later answers, and a claim,
 * which must not be below what was acknowledged before. "Before" means that the one answer had come when the other
 * request was made; of requests that overlap, neither binds the other.
 */

/** Times are ms, all from one clock. */
export interface Answer {
  /** The id of the upload. */
  upload: string;
  method: string;
  status: number;
  /** Undefined if it has none. */
  offset: number | undefined;
  beganAtMs: number;
  endedAtMs: number;
}

export interface Loss {
  upload: string;
  acknowledged: Answer;
  /** What then said less, or that there is no such upload. */
  claim: Answer;
}

const GONE = new Set([404, 410]);

export class History {
  readonly #uploads = new Map<string, Answer[]>();
  readonly #removedAtMs = new Map<string, number>();

  note(answer: Answer): void {
    const answers = this.#uploads.get(answer.upload);
    if (answers) answers.push(answer);
    else this.#uploads.set(answer.upload, [answer]);
  }

  /** From now on the upload may be gone. */
  noteRemoval(upload: string): void {
    if (!this.#removedAtMs.has(upload)) this.#removedAtMs.set(upload, performance.now());
  }

  get ids(): string[] {
    return [...this.#uploads.keys()];
  }

  get answers(): Answer[] {
    return [...this.#uploads.values()].flat();
  }

  /** The ids of those that nobody has removed. */
  get present(): string[] {
    return this.ids.filter((id) => !this.#removedAtMs.has(id));
  }

  /** The highest acknowledged offsets, summed up. */
  get acknowledgedBytes(): number {
    const highest = [...this.#uploads.values()].map((answers) =>
      answers.reduce((most, { offset = 0 }) => Math.max(most, offset), 0),
    );
    return highest.reduce((sum, offset) => sum + offset, 0);
  }

  /** Each claim that falls short, with the highest acknowledgement before it. */
  findLosses(): Loss[] {
    return [...this.#uploads].flatMap(([upload, answers]) => {
      const until = this.#removedAtMs.get(upload) ?? Infinity;
      return answers
        .filter(({ endedAtMs }) => endedAtMs < until)
        .flatMap((claim) => {
          const acknowledged = findHighest(answers, claim.beganAtMs);
          const claimed = GONE.has(claim.status) ? -1 : claim.offset;
          if (acknowledged?.offset === undefined || claimed === undefined) return [];
          return claimed < acknowledged.offset ? [{ upload, acknowledged, claim }] : [];
        });
    });
  }
}

/** Among the answers that had come by then. */
function findHighest(answers: Answer[], byMs: number): Answer | undefined {
  let highest: Answer | undefined;
  for (const answer of answers) {
    if (answer.endedAtMs > byMs || answer.offset === undefined) continue;
    if (answer.offset > (highest?.offset ?? -1)) highest = answer;
  }
  return highest;
}
