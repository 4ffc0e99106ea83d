/** Upstreams for tests: parsed as the Worker parses them, and seen through their semaphores. */
import { env } from "cloudflare:test";
import { readUpstreams, type Upstream } from "../../src/outbound/upstreams.ts";

/** What the Worker makes of one upstream's configuration; `variables` may hold its secrets. */
export function parseUpstream(configuration: object, variables: object = {}): Upstream {
  const upstream = parseUpstreams({ api: configuration }, variables).get("api");
  if (!upstream) throw new Error("It has not been parsed.");
  return upstream;
}

export function parseUpstreams(upstreams: unknown, variables: object = {}) {
  return readUpstreams({ ...env, ...variables, UPSTREAMS: upstreams as object });
}

/** How many hold a permit of an upstream, and how many wait for one. */
export async function loadOf(name: string) {
  const { held, waiting } = await env.SEMAPHORE.getByName(name).status();
  return { held: held.count, waiting: waiting.count };
}

export const IDLE = { held: 0, waiting: 0 };
