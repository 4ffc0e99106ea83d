/**
 * The frontier of a crawl: which addresses wait, which have been seen, and what is under way.
 *
 * An address is offered by a page that links to it, or by a sitemap. The first offer counts; from then on the address is
 * seen, and no later offer brings it back. It waits in order of arrival, so pages near the start come first. `take` hands
 * it out, `finish` ends it, and `giveBack` puts it in front again, for a page that could not be fetched now.
 *
 * Its state is text of bounded size, whatever is crawled: `MAX_SEEN` addresses of 8 characters each (a hash of 48 bits:
 * with all of them, two addresses are mistaken for one another in one crawl of five million), and `MAX_WAITING_LENGTH`
 * characters of those that wait. What is under way is part of the state as if it waited, so that nothing that was handed
 * out is lost with its run.
 *
 * Invariant: no address is handed out again after it was finished, none is deeper than `maxDepth`, and
 * `from(state())` goes on as this one would.
 */
import { createHash } from "node:crypto";

/** How many addresses a crawl remembers. */
export const MAX_SEEN = 10_000;
/** Of the addresses that wait, together. */
export const MAX_WAITING_LENGTH = 250_000;
const HASH_LENGTH = 8;

/** A page to fetch: its address, and how many links it is away from the start. */
export interface Visit {
  address: string;
  depth: number;
}

/** `full`: there is no room for it; `deep`: it is further away than the crawl goes. */
export type Offer = "taken" | "seen" | "full" | "deep";

/** As it is kept in a checkpoint. `waiting`: each visit as `{depth} {address}`. */
export interface FrontierState {
  waiting: string[];
  seen: string;
}

export class Frontier {
  readonly #maxDepth: number;
  readonly #seen: HashSet;
  #waiting: Visit[];
  readonly #underWay = new Set<Visit>();
  /** Of what waits and is under way. */
  #length: number;

  constructor(maxDepth: number, state: FrontierState = { waiting: [], seen: "" }) {
    this.#maxDepth = maxDepth;
    this.#seen = new HashSet(state.seen);
    this.#waiting = state.waiting.map(readVisit);
    this.#length = this.#waiting.reduce((sum, visit) => sum + lengthOf(visit), 0);
  }

  /** How many addresses wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** No further address can be remembered. */
  get isExhausted(): boolean {
    return this.#seen.size >= MAX_SEEN;
  }

  offer(visit: Visit): Offer {
    if (visit.depth > this.#maxDepth) return "deep";
    if (this.#seen.has(visit.address)) return "seen";
    const length = this.#length + lengthOf(visit);
    if (this.isExhausted || length > MAX_WAITING_LENGTH) return "full";
    this.#seen.add(visit.address);
    this.#waiting.push(visit);
    this.#length = length;
    return "taken";
  }

  /** The next address to fetch; undefined if none waits. */
  take(): Visit | undefined {
    const visit = this.#waiting.shift();
    if (visit) this.#underWay.add(visit);
    return visit;
  }

  /** This visit is over, whatever came of it. */
  finish(visit: Visit): void {
    if (this.#underWay.delete(visit)) this.#length -= lengthOf(visit);
  }

  /** This visit, or one of an earlier run, is to be made again, before all others. */
  giveBack(visit: Visit): void {
    if (!this.#underWay.delete(visit)) this.#length += lengthOf(visit);
    this.#waiting.unshift(visit);
  }

  state(): FrontierState {
    const waiting = [...this.#underWay, ...this.#waiting].map(({ depth, address }) => `${depth} ${address}`);
    return { waiting, seen: this.#seen.text };
  }
}

const lengthOf = ({ address }: Visit) => address.length + 6; // depth, space, quotes and comma

function readVisit(text: string): Visit {
  const space = text.indexOf(" ");
  return { depth: Number(text.slice(0, space)), address: text.slice(space + 1) };
}

/** A set of texts that can only be asked and added to, kept as hashes of 48 bits. */
export class HashSet {
  readonly #hashes: Set<string>;

  constructor(text = "") {
    this.#hashes = new Set(text.match(/.{8}/g) ?? []);
  }

  get size(): number {
    return this.#hashes.size;
  }

  has(value: string): boolean {
    return this.#hashes.has(hashOf(value));
  }

  /** Returns false if it was there already. */
  add(value: string): boolean {
    const before = this.#hashes.size;
    this.#hashes.add(hashOf(value));
    return this.#hashes.size > before;
  }

  delete(value: string): void {
    this.#hashes.delete(hashOf(value));
  }

  /** All hashes, one after the other. */
  get text(): string {
    return [...this.#hashes].join("");
  }
}

const hashOf = (value: string): string =>
  createHash("sha256").update(value).digest("base64url").slice(0, HASH_LENGTH);
