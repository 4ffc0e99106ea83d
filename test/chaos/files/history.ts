/**
 * What the server said about each upload, in the order in which clients received it.
 *
 * Every response with an `Upload-Offset` is two things: an acknowledgement, which binds all later responses, and a
 * claim, which must not be lower than what was acknowledged before. "Before" means that the one response had arrived
 * when the other request was sent. If two requests overlap, neither response binds the other.
 */

/** Times are ms, all from one clock. */
export interface UploadResponse {
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
  acknowledged: UploadResponse;
  /** The later response with a lower offset, or without such an upload. */
  claim: UploadResponse;
}

const GONE = new Set([404, 410]);

export class History {
  readonly #uploads = new Map<string, UploadResponse[]>();
  readonly #removedAtMs = new Map<string, number>();

  note(response: UploadResponse): void {
    const responses = this.#uploads.get(response.upload);
    if (responses) responses.push(response);
    else this.#uploads.set(response.upload, [response]);
  }

  /** From now on the upload may be gone. */
  noteRemoval(upload: string): void {
    if (!this.#removedAtMs.has(upload)) this.#removedAtMs.set(upload, performance.now());
  }

  get ids(): string[] {
    return [...this.#uploads.keys()];
  }

  get responses(): UploadResponse[] {
    return [...this.#uploads.values()].flat();
  }

  /** The ids of the uploads that were not removed. */
  get present(): string[] {
    return this.ids.filter((id) => !this.#removedAtMs.has(id));
  }

  /** The sum of the highest acknowledged offsets. */
  get acknowledgedBytes(): number {
    const highest = [...this.#uploads.values()].map((responses) =>
      responses.reduce((highestOffset, { offset = 0 }) => Math.max(highestOffset, offset), 0),
    );
    return highest.reduce((sum, offset) => sum + offset, 0);
  }

  /** Each claim that is too low, with the highest acknowledgement before it. */
  findLosses(): Loss[] {
    return [...this.#uploads].flatMap(([upload, responses]) => {
      const until = this.#removedAtMs.get(upload) ?? Infinity;
      return responses
        .filter(({ endedAtMs }) => endedAtMs < until)
        .flatMap((claim) => {
          const acknowledged = findHighest(responses, claim.beganAtMs);
          const claimed = GONE.has(claim.status) ? -1 : claim.offset;
          if (acknowledged?.offset === undefined || claimed === undefined) return [];
          return claimed < acknowledged.offset ? [{ upload, acknowledged, claim }] : [];
        });
    });
  }
}

/** The highest offset among the responses that had arrived by then. */
function findHighest(responses: UploadResponse[], byMs: number): UploadResponse | undefined {
  let highest: UploadResponse | undefined;
  for (const response of responses) {
    if (response.endedAtMs > byMs || response.offset === undefined) continue;
    if (response.offset > (highest?.offset ?? -1)) highest = response;
  }
  return highest;
}
