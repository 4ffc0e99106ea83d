/** Reads an upstream's robots.txt, through the upstream like every page. */
import { NonRetryableError } from "../../tasks/index.ts";
import { get, readUpTo } from "./calls.ts";
import {
  ALL_ALLOWED,
  MAX_CRAWL_DELAY_MS,
  MAX_ROBOTS_BYTES,
  ROBOTS_PATH,
  type RobotsRules,
  readRobots,
} from "./robots.ts";
import type { Visitor } from "./visit.ts";

/** Throws if it cannot be read now: without it nothing may be fetched (RFC 9309 §2.3.1.4). */
export async function fetchRobots({
  caller,
  upstream,
  origin,
  agent,
}: Omit<Visitor, "readArticle">): Promise<RobotsRules> {
  const answer = await get(caller, upstream, ROBOTS_PATH, { accept: "text/plain,*/*;q=0.1" });
  if (answer.is === "refused")
    throw new NonRetryableError(`the upstream "${upstream}" may not be called at ${ROBOTS_PATH}`);
  if (answer.is !== "response") throw unreadable(answer.reason);
  const { response } = answer;
  if (response.status >= 400 && response.status < 500) {
    await response.body?.cancel();
    return ALL_ALLOWED;
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw unreadable(`the upstream responded with ${response.status}`);
  }
  const body = await readUpTo(response, MAX_ROBOTS_BYTES, caller.signal);
  if (!body) throw unreadable("the response broke off");
  const rules = readRobots(new TextDecoder().decode(body.bytes), origin, agent);
  if (rules.delayMs > MAX_CRAWL_DELAY_MS)
    throw new NonRetryableError(
      `${ROBOTS_PATH} asks for ${rules.delayMs / 1_000} s between two calls; a crawl waits ${MAX_CRAWL_DELAY_MS / 1_000} s at most`,
    );
  return rules;
}

const unreadable = (reason: string) =>
  new Error(`${ROBOTS_PATH} could not be read, and without it nothing may be fetched: ${reason}`);
