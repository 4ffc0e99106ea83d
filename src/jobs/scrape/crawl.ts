/**
 * A crawl: visits pages side by side until none is left or there are enough, and writes each to the file once.
 *
 * The upstream's semaphore decides how many calls are in flight, so the crawl only sees to it that there is always one that
 * waits for a permit; with a crawl delay there is one at a time. What visits bring is taken in one after the other, between
 * two waits, so the state is always that of whole visits. It is recorded with the lines in batches: a crash costs the
 * visits since the last one, which are made again.
 */
import { mayBePage } from "./addresses.ts";
import {
  type Counts,
  countFailure,
  noCounts,
  type Position,
  type Redo,
  type SitemapToRead,
} from "./crawl-state.ts";
import { Frontier, HashSet, type Visit } from "./frontier.ts";
import type { Output } from "./output.ts";
import type { RobotsRules } from "./robots.ts";
import { readSitemap } from "./sitemap-call.ts";
import { type Visited, type Visitor, visitPage } from "./visit.ts";

/** Visits under way: more than an invocation has calls in flight (four), since a visit reads and extracts, too. */
const MAX_LANES = 6;
/** A batch is recorded when it has so many visits (or as many as the plan says), so many characters, or is so old. */
const BATCH_CHARACTERS = 1024 * 1024;
const BATCH_MS = 3_000;
/** Sitemaps are read on when fewer addresses wait. */
const FEW_WAITING = 200;
/** And so many are taken at once. */
const MANY_WAITING = 2_000;
/** Pauses in a row, after which the attempt fails. It is retried later. */
const MAX_PAUSES = 10;
const MAX_PAUSE_MS = 60_000;
/** A run has 15 minutes: what is left is for another one. */
const MAX_RUN_MS = 12 * 60_000;

/** How much is done at once. */
export interface CrawlLimits {
  /** Visits that are recorded together. A crash repeats so many, and those under way. */
  batchVisits: number;
  /** Characters of HTML in one run. */
  runHtml: number;
}

/** A run has 30 s of CPU time, and extraction takes up to 3 s of it for a million characters. */
export const CRAWL_LIMITS: CrawlLimits = { batchVisits: 50, runHtml: 6_000_000 };

export interface CrawlPlan {
  /** Addresses to start from. */
  start: string[];
  sitemaps: string[];
  maxDepth: number;
  maxPages: number;
  concurrency: number;
  rules: RobotsRules;
  limits: CrawlLimits;
}

interface Batch extends Redo {
  lines: string;
  startedAtMs: number;
}

/** A visit that has come back. */
type Arrival = { visit: Visit; visited: Visited | { is: "robots" } };

export class Crawl {
  readonly #plan: CrawlPlan;
  readonly #visitor: Visitor;
  readonly #output: Output<Position, Redo>;
  readonly #frontier: Frontier;
  readonly #kept: HashSet;
  #counts: Counts;
  #sitemaps: SitemapToRead[];
  #nextCallAtMs: number;
  #batch: Batch;
  readonly #underWay = new Set<Promise<void>>();
  readonly #arrived: Arrival[] = [];
  #recording: Promise<void> = Promise.resolve();
  /** Without a page between them. */
  #pauses = 0;
  #busyBecause = "";
  readonly #startedAtMs = Date.now();
  /** Characters of HTML that this run has taken in. */
  #html = 0;

  constructor(plan: CrawlPlan, visitor: Visitor, output: Output<Position, Redo>) {
    const { position, redo } = output;
    this.#plan = plan;
    this.#visitor = visitor;
    this.#output = output;
    this.#frontier = new Frontier(plan.maxDepth, position?.frontier);
    this.#kept = new HashSet(position?.kept);
    this.#counts = { ...(position?.counts ?? noCounts()), ...redo?.counts };
    this.#sitemaps =
      position?.sitemaps ?? plan.sitemaps.map((address) => ({ address, from: 0, isPart: false }));
    // robots.txt has just been called.
    this.#nextCallAtMs = Math.max(position?.nextCallAtMs ?? 0, Date.now() + plan.rules.delayMs);
    for (const visit of redo?.visits.toReversed() ?? []) this.#frontier.giveBack(visit);
    for (const key of redo?.kept ?? []) this.#kept.delete(key);
    if (!position) for (const address of plan.start) this.#frontier.offer({ address, depth: 0 });
    this.#batch = this.#newBatch();
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** Addresses that are known and were not visited. */
  get waiting(): number {
    return this.#frontier.waiting;
  }

  /**
   * Crawls until nothing is left to do, or until another run should go on; then it resolves to false. All that was done is
   * recorded. `onVisit` is called after each visit.
   */
  async run(onVisit: (visit: Visit) => void): Promise<boolean> {
    try {
      return await this.#crawl(onVisit);
    } finally {
      // The next run must not meet it.
      await this.#recording.catch(() => {});
    }
  }

  async #crawl(onVisit: (visit: Visit) => void): Promise<boolean> {
    while (!this.#isSpent) {
      this.#visitor.caller.signal.throwIfAborted();
      if (this.#mustReadSitemap) await this.#readSitemap();
      this.#begin();
      if (this.#underWay.size > 0 && this.#arrived.length === 0) await Promise.race(this.#underWay);
      else if (this.#arrived.length === 0 && this.#isOver) break;
      else if (this.#arrived.length === 0) await this.#pause();
      await this.#takeInAll(onVisit);
      if (this.#isStuck) await this.#flush();
      if (this.#isStuck) throw new Error(`no page could be fetched for a long time: ${this.#busyBecause}`);
    }
    // What is under way is not lost with the run.
    await Promise.all(this.#underWay);
    await this.#takeInAll(onVisit);
    await this.#flush();
    return this.#isOver;
  }

  /** This run has done its share. */
  get #isSpent(): boolean {
    return this.#html >= this.#plan.limits.runHtml || Date.now() - this.#startedAtMs >= MAX_RUN_MS;
  }

  get #isOver(): boolean {
    const isEmpty = this.#frontier.waiting === 0 && this.#underWay.size === 0;
    return this.#counts.pages >= this.#plan.maxPages || (isEmpty && this.#sitemaps.length === 0);
  }

  /** Records a batch while visits go on. One is recorded at a time; if it fails, the next call throws. */
  async #beginRecording(): Promise<void> {
    await this.#recording;
    this.#recording = this.#record();
    this.#recording.catch(() => {});
  }

  /** Records all that has come in. */
  async #flush(): Promise<void> {
    await this.#recording;
    await this.#record();
  }

  /** Writes what has come in since the last time. */
  async #record(): Promise<void> {
    const { lines, visits, kept, counts } = this.#batch;
    this.#batch = this.#newBatch();
    await this.#output.write(new TextEncoder().encode(lines), this.#position(), { visits, kept, counts });
  }

  #position(): Position {
    return {
      frontier: this.#frontier.state(),
      kept: this.#kept.text,
      counts: structuredClone(this.#counts),
      sitemaps: this.#sitemaps,
      nextCallAtMs: this.#nextCallAtMs,
    };
  }

  #newBatch(): Batch {
    return {
      lines: "",
      visits: [],
      kept: [],
      counts: structuredClone(this.#counts),
      startedAtMs: Date.now(),
    };
  }

  get #isBatchDue(): boolean {
    const { visits, lines, startedAtMs } = this.#batch;
    if (visits.length === 0) return false;
    return (
      visits.length >= this.#plan.limits.batchVisits ||
      lines.length >= BATCH_CHARACTERS ||
      Date.now() - startedAtMs >= BATCH_MS
    );
  }

  // ---------------------------------------------------------------- beginning visits

  get #mayBegin(): boolean {
    const isWanted = this.#counts.pages + this.#underWay.size < this.#plan.maxPages;
    return isWanted && this.#frontier.waiting > 0;
  }

  #begin(): void {
    const { rules, concurrency } = this.#plan;
    const lanes = rules.delayMs > 0 ? 1 : Math.min(MAX_LANES, concurrency + 2);
    while (this.#underWay.size < lanes && this.#mayBegin && Date.now() >= this.#nextCallAtMs) {
      // Those that end here are taken in first: a batch is bounded.
      if (this.#arrived.length >= this.#plan.limits.batchVisits) return;
      const visit = this.#frontier.take();
      if (!visit) return;
      if (!rules.mayFetch(visit.address)) this.#arrived.push({ visit, visited: { is: "robots" } });
      else if (!mayBePage(visit.address)) this.#arrived.push({ visit, visited: { is: "notHtml" } });
      else this.#visit(visit);
    }
  }

  #visit(visit: Visit): void {
    this.#nextCallAtMs = Math.max(this.#nextCallAtMs, Date.now() + this.#plan.rules.delayMs);
    const visiting = this.#arrive(visit).finally(() => this.#underWay.delete(visiting));
    this.#underWay.add(visiting);
    // Whoever waits for it hears of its failure; the others end with the signal.
    visiting.catch(() => {});
  }

  async #arrive(visit: Visit): Promise<void> {
    this.#arrived.push({ visit, visited: await visitPage(this.#visitor, visit) });
  }

  /** Until the next call may begin. Whatever has come in is recorded first, if that takes long. */
  async #pause(): Promise<void> {
    const ms = this.#nextCallAtMs - Date.now();
    if (ms > BATCH_MS && this.#batch.visits.length > 0) await this.#flush();
    if (ms > 0) await scheduler.wait(ms, { signal: this.#visitor.caller.signal });
  }

  // ---------------------------------------------------------------- taking in what they bring

  /** One at a time, so that what has arrived does not make a batch longer than it may be. */
  async #takeInAll(onVisit: (visit: Visit) => void): Promise<void> {
    for (let next = this.#arrived.shift(); next; next = this.#arrived.shift()) {
      this.#takeIn(next);
      onVisit(next.visit);
      if (this.#isBatchDue) await this.#beginRecording();
    }
  }

  #takeIn({ visit, visited }: Arrival): void {
    if (visited.is === "busy") {
      this.#frontier.giveBack(visit);
      this.#pauseFor(visited);
      return;
    }
    this.#pauses = 0;
    this.#frontier.finish(visit);
    this.#batch.visits.push(visit);
    if (visited.is === "page") this.#takePage(visit, visited);
    else if (visited.is === "failed")
      countFailure(this.#counts, { address: visit.address, reason: visited.reason });
    else if (visited.is === "redirect") this.#follow(visit, visited.to);
    else this.#counts.skipped[visited.is]++;
  }

  /** Calls begin again after a pause. An upstream that stays busy fails the attempt. */
  #pauseFor({ afterMs, reason }: { afterMs: number; reason: string }): void {
    const nowMs = Date.now();
    // Others that were under way hear the same.
    if (nowMs >= this.#nextCallAtMs) this.#pauses++;
    this.#busyBecause = reason;
    this.#nextCallAtMs = Math.max(this.#nextCallAtMs, nowMs + Math.min(afterMs, MAX_PAUSE_MS));
  }

  get #isStuck(): boolean {
    return this.#pauses > MAX_PAUSES;
  }

  #takePage(visit: Visit, { line, key, noindex, links, size }: Visited & { is: "page" }): void {
    this.#html += size;
    for (const address of links) this.#offer({ address, depth: visit.depth + 1 });
    if (noindex) {
      this.#counts.skipped.noindex++;
    } else if (this.#counts.pages >= this.#plan.maxPages || !this.#kept.add(key)) {
      this.#counts.skipped.duplicate++;
    } else {
      this.#counts.pages++;
      this.#batch.kept.push(key);
      this.#batch.lines += line;
    }
  }

  /** A redirect is no link: what it leads to is as far away. */
  #follow({ depth }: Visit, to: string | undefined): void {
    this.#counts.redirects++;
    if (to !== undefined) this.#offer({ address: to, depth });
  }

  #offer(visit: Visit): void {
    if (this.#frontier.offer(visit) === "full") this.#counts.dropped++;
  }

  // ---------------------------------------------------------------- sitemaps

  get #mustReadSitemap(): boolean {
    const { waiting, isExhausted } = this.#frontier;
    if (isExhausted) this.#sitemaps = [];
    return this.#sitemaps.length > 0 && waiting < FEW_WAITING && this.#counts.pages < this.#plan.maxPages;
  }

  /** Takes what there is room for from the first sitemap. */
  async #readSitemap(): Promise<void> {
    const [sitemap, ...others] = this.#sitemaps;
    if (!sitemap || Date.now() < this.#nextCallAtMs) return;
    this.#nextCallAtMs = Date.now() + this.#plan.rules.delayMs;
    let taken = 0;
    const answer = await readSitemap(this.#visitor, sitemap, (address) => {
      if (taken >= MANY_WAITING) return false;
      const offer = this.#frontier.offer({ address, depth: 0 });
      if (offer === "taken") taken++;
      return offer !== "full";
    });
    if (answer.is === "busy") {
      this.#pauseFor(answer);
      return;
    }
    if (sitemap.from === 0) this.#counts.sitemaps++;
    if (answer.is === "failed")
      countFailure(this.#counts, { address: sitemap.address, reason: answer.reason });
    this.#sitemaps = answer.is === "read" ? [...answer.next, ...others] : others;
  }
}
