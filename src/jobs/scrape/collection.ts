/**
 * A collection: gets one page of a list after the other, until the last one or a limit, and writes the items of each to the
 * file once.
 *
 * Each page says where the next one is, so there is one call at a time. A list that leads back to a page it has been at, or
 * that sends the same page again under the next number, has no end: the collection ends there, and says so.
 */
import { createHash } from "node:crypto";
import { NonRetryableError } from "../../tasks/index.ts";
import { type Caller, get, readUpTo } from "./calls.ts";
import { HashSet } from "./frontier.ts";
import { parseExactly } from "./json-exact.ts";
import type { Output } from "./output.ts";
import { memberOf, nextPage, type Pagination } from "./pagination.ts";
import { type Format, headerLine, MAX_COLUMNS, toRows } from "./rows.ts";

/** Of a page: it is parsed whole. */
const MAX_PAGE_BYTES = 5 * 1024 * 1024;
/** A batch of pages is recorded when it is so old, or as long as the plan says. */
const BATCH_MS = 2_000;
/** A run has 15 minutes: what is left is for another one. */
const MAX_RUN_MS = 12 * 60_000;
const MAX_PAUSES = 10;
const MAX_PAUSE_MS = 60_000;
const MAX_UNKNOWN = 20;
const MAX_SHOWN_LENGTH = 100;

/** How much is done at once. */
export interface CollectionLimits {
  /** What is recorded together, in characters of the file. A crash repeats so much. */
  batchCharacters: number;
  /** Bytes of JSON in one run. */
  runBytes: number;
}

/** A run has 30 s of CPU time, and parsing takes about 30 ms of it for a megabyte. */
export const COLLECTION_LIMITS: CollectionLimits = {
  batchCharacters: 512 * 1024,
  runBytes: 256 * 1024 * 1024,
};

export interface CollectionPlan {
  upstream: string;
  origin: string;
  pagination: Pagination;
  /** Where a page has its items; undefined: it is the list. */
  items: string | undefined;
  format: Format;
  columns: string[] | undefined;
  maxPages: number;
  maxItems: number;
  limits: CollectionLimits;
}

/**
 * Why there is no further page: it was the last one; a limit was reached; the list leads back; the next page is elsewhere,
 * where the upstream may not be called, or said in a way that nobody understands.
 */
export type End = "last-page" | "max-pages" | "max-items" | "loop" | "foreign" | "refused" | "malformed";

/** Where a collection is. */
export interface CollectionPosition {
  /** The next page to get. */
  next: string;
  /** There is none to get. */
  end: End | null;
  pages: number;
  items: number;
  /** Settled by the first page of a CSV. */
  columns: string[] | null;
  /** Members that no column takes: the first of them. */
  unknown: string[];
  /** Hashes of the addresses of all pages so far. */
  seen: string;
  /** Of the items of the page before. */
  lastHash: string;
}

export const startAt = (next: string): CollectionPosition => ({
  next,
  end: null,
  pages: 0,
  items: 0,
  columns: null,
  unknown: [],
  seen: "",
  lastHash: "",
});

interface Answer {
  headers: Headers;
  value: unknown;
  bytes: number;
}

export class Collection {
  readonly #plan: CollectionPlan;
  readonly #caller: Caller;
  readonly #output: Output<CollectionPosition, CollectionPosition>;
  #position: CollectionPosition;
  readonly #seen: HashSet;

  constructor(
    plan: CollectionPlan,
    caller: Caller,
    output: Output<CollectionPosition, CollectionPosition>,
    start: CollectionPosition,
  ) {
    this.#plan = plan;
    this.#caller = caller;
    this.#output = output;
    this.#position = output.redo ?? output.position ?? start;
    this.#seen = new HashSet(this.#position.seen);
  }

  get position(): CollectionPosition {
    return this.#position;
  }

  /**
   * Collects until the end, or until another run should go on; then it resolves to false. All that was done is recorded.
   * `onPage` is called after each page.
   */
  async run(onPage: () => void): Promise<boolean> {
    const startedAtMs = Date.now();
    let bytes = 0;
    let text = "";
    let recorded = this.#position;
    let recordedAtMs = startedAtMs;
    const isSpent = () => bytes >= this.#plan.limits.runBytes || Date.now() - startedAtMs >= MAX_RUN_MS;
    while (this.#position.end === null && !isSpent()) {
      const answer = await this.#fetch(this.#position.next);
      bytes += answer?.bytes ?? 0;
      text += answer ? this.#take(answer) : this.#end("refused");
      onPage();
      if (text.length < this.#plan.limits.batchCharacters && Date.now() - recordedAtMs < BATCH_MS) continue;
      await this.#output.write(new TextEncoder().encode(text), this.#position, recorded);
      text = "";
      recorded = this.#position;
      recordedAtMs = Date.now();
    }
    await this.#output.write(new TextEncoder().encode(text), this.#position, recorded);
    return this.#position.end !== null;
  }

  /** Undefined if the upstream may not be called there. Throws if there is no page to go on with. */
  async #fetch(address: string): Promise<Answer | undefined> {
    const { upstream } = this.#plan;
    for (let pauses = 0; ; pauses++) {
      const answer = await get(this.#caller, upstream, address, { accept: "application/json" });
      if (answer.is === "refused") return undefined;
      if (answer.is === "response") return this.#read(answer.response);
      if (answer.is === "failed" || pauses >= MAX_PAUSES) throw new Error(this.#of(answer.reason));
      await scheduler.wait(Math.min(answer.afterMs, MAX_PAUSE_MS), { signal: this.#caller.signal });
    }
  }

  async #read(response: Response): Promise<Answer> {
    const { status, headers } = response;
    if (!response.ok) {
      await response.body?.cancel();
      const message = this.#of(`the upstream responded with ${status}`);
      throw status >= 500 ? new Error(message) : new NonRetryableError(message);
    }
    const body = await readUpTo(response, MAX_PAGE_BYTES, this.#caller.signal);
    if (!body) throw new Error(this.#of("the response broke off"));
    if (!body.isWhole)
      throw new NonRetryableError(
        this.#of(`it is longer than ${MAX_PAGE_BYTES} bytes: ask for shorter pages`),
      );
    try {
      return { headers, value: parseExactly(new TextDecoder().decode(body.bytes)), bytes: body.bytes.length };
    } catch (error) {
      throw new NonRetryableError(this.#of("it is not JSON"), { cause: error });
    }
  }

  /** Brings the position behind a page, and returns the page's part of the file. */
  #take({ headers, value }: Answer): string {
    const { maxItems, maxPages, format, pagination, origin } = this.#plan;
    const before = this.#position;
    const items = this.#itemsOf(value);
    const lastHash = items.length > 0 ? hashOf(items) : "";
    if (lastHash !== "" && lastHash === before.lastHash && isCounted(pagination)) return this.#end("loop");
    const wanted = items.slice(0, maxItems - before.items);
    const rows = toRows(format, wanted, before.columns ?? this.#plan.columns);
    if (rows.columns.length > MAX_COLUMNS)
      throw new NonRetryableError(
        this.#of(`its items have more than ${MAX_COLUMNS} members: name the columns`),
      );
    const isFirst = before.columns === null && rows.columns.length > 0;
    this.#seen.add(before.next);
    const answer = { address: before.next, headers, value, itemCount: items.length };
    const next = nextPage(pagination, answer, origin);
    const count = before.items + wanted.length;
    this.#position = {
      next: "address" in next ? next.address : before.next,
      end: this.#endOf(next, count, before.pages + 1 >= maxPages),
      pages: before.pages + 1,
      items: count,
      columns: isFirst ? rows.columns : before.columns,
      unknown: [...new Set([...before.unknown, ...rows.unknown.map(shown)])].slice(0, MAX_UNKNOWN),
      seen: this.#seen.text,
      lastHash,
    };
    return (isFirst ? headerLine(rows.columns) : "") + rows.text;
  }

  #endOf(next: ReturnType<typeof nextPage>, items: number, isLastAllowed: boolean): End | null {
    if ("end" in next) return next.end;
    if (items >= this.#plan.maxItems) return "max-items";
    if (isLastAllowed) return "max-pages";
    return this.#seen.has(next.address) ? "loop" : null;
  }

  #end(end: End): string {
    this.#position = { ...this.#position, end };
    return "";
  }

  #itemsOf(value: unknown): unknown[] {
    const { items: path } = this.#plan;
    const items = path === undefined ? value : memberOf(value, path);
    if (Array.isArray(items)) return items;
    // Some lists leave out what they have nothing of.
    if (path !== undefined && (items === undefined || items === null) && this.#position.pages > 0) return [];
    const what = path === undefined ? "it is not an array" : `its member "${path}" is not an array`;
    throw new NonRetryableError(this.#of(`${what}: "items" must name the member that is`));
  }

  /** A message about the page that is being got. */
  #of(message: string): string {
    return `page ${this.#position.pages + 1} (${shown(this.#position.next)}): ${message}`;
  }
}

/** Whether the next page follows from a count, and not from what the page says. */
const isCounted = ({ by }: Pagination): boolean => by === "page" || by === "offset";

const hashOf = (items: unknown[]): string =>
  createHash("sha256").update(JSON.stringify(items)).digest("base64url").slice(0, 16);

const shown = (text: string): string =>
  text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text;
