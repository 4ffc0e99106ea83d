/**
 * What a crawl knows of itself: counts, and where it is. All of it is in the checkpoint, in bounded size.
 */
import type { FrontierState, Visit } from "./frontier.ts";

/** Pages that were not fetched, or not kept, and why. */
export interface Skipped {
  /** robots.txt does not allow them. */
  robots: number;
  /** The configuration of the upstream does not allow them. */
  refused: number;
  /** They are not HTML. */
  notHtml: number;
  /** They ask not to be kept (`noindex`). */
  noindex: number;
  /** Their canonical address is that of a page that is kept already. */
  duplicate: number;
}

export interface Failure {
  address: string;
  reason: string;
}

export interface Counts {
  /** In the file. */
  pages: number;
  redirects: number;
  skipped: Skipped;
  failed: number;
  /** The first of them. */
  failures: Failure[];
  /** Links for which there was no room. */
  dropped: number;
  sitemaps: number;
}

export const noCounts = (): Counts => ({
  pages: 0,
  redirects: 0,
  skipped: { robots: 0, refused: 0, notHtml: 0, noindex: 0, duplicate: 0 },
  failed: 0,
  failures: [],
  dropped: 0,
  sitemaps: 0,
});

const MAX_FAILURES = 20;
const MAX_REASON_LENGTH = 200;

export function countFailure(counts: Counts, { address, reason }: Failure): void {
  counts.failed++;
  if (counts.failures.length >= MAX_FAILURES) return;
  counts.failures.push({
    address: address.slice(0, MAX_REASON_LENGTH),
    reason: reason.slice(0, MAX_REASON_LENGTH),
  });
}

/** A sitemap that is to be read, from its entry of this number on. */
export interface SitemapToRead {
  address: string;
  from: number;
  /** It was named by an index, so it is none itself. */
  isPart: boolean;
}

/** Where a crawl is. */
export interface Position {
  frontier: FrontierState;
  /** Hashes of the canonical addresses of the pages in the file. */
  kept: string;
  counts: Counts;
  sitemaps: SitemapToRead[];
  /** When the next call may begin, because of a crawl delay. */
  nextCallAtMs: number;
}

/** What is to be done again if the last piece of the file was lost. */
export interface Redo {
  visits: Visit[];
  /** The canonical addresses of the pages in the piece. */
  kept: string[];
  /** As they were before. */
  counts: Counts;
}
