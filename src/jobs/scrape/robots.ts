/**
 * What an upstream's robots.txt lets this crawl do (RFC 9309).
 *
 * It is read once in each run, through the upstream like every page. The rules for our name count, or else those for `*`.
 * Without a robots.txt (any 4xx) everything is allowed; if it cannot be read now (5xx, no response), nothing is, and the
 * task is retried.
 */
import robotsParser from "robots-parser";

/** RFC 9309 §2.5: at least so much is read. */
export const MAX_ROBOTS_BYTES = 512 * 1024;
export const ROBOTS_PATH = "/robots.txt";
/** A longer delay would stretch a crawl over days: it is refused rather than ignored. */
export const MAX_CRAWL_DELAY_MS = 300_000;

export interface RobotsRules {
  mayFetch(address: string): boolean;
  /** From the beginning of one call to that of the next; 0 if none is asked for. */
  delayMs: number;
  /** The URLs of sitemaps, as they are written. */
  sitemaps: string[];
}

export const ALL_ALLOWED: RobotsRules = { mayFetch: () => true, delayMs: 0, sitemaps: [] };

/** `agent`: our name, without a version. */
export function readRobots(text: string, origin: string, agent: string): RobotsRules {
  const rules = robotsParser(`${origin}${ROBOTS_PATH}`, text.replace(/^\uFEFF/, ""));
  const delayS = rules.getCrawlDelay(agent) ?? 0;
  return {
    mayFetch: (address) => rules.isAllowed(`${origin}${address}`, agent) !== false,
    delayMs: delayS > 0 ? delayS * 1_000 : 0,
    sitemaps: rules.getSitemaps(),
  };
}

/** The name that rules are looked up under: what a `User-Agent` says before its version (RFC 9309 §2.2.1). */
export const agentOf = (userAgent: string): string => /^[\w-]+/.exec(userAgent.trim())?.[0] ?? "*";
