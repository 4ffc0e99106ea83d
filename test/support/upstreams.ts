/** Upstreams for tests: parsed as the Worker parses them, and observed through their semaphores. */
import { env } from "cloudflare:test";
import { onTestFinished } from "vitest";
import type { PermitRequest } from "../../src/outbound/semaphore/permit-types.ts";
import { readUpstreams, type Upstream } from "../../src/outbound/upstreams.ts";

/** What the Worker makes of one upstream's configuration. `variables` may hold its secrets. */
export function parseUpstream(configuration: object, variables: object = {}): Upstream {
  const upstream = parseUpstreams({ api: configuration }, variables).get("api");
  if (!upstream) throw new Error("The upstream was not parsed.");
  return upstream;
}

/** A text that is no object is a secret for a header. */
const NO_OTHERS: object = { UPSTREAMS_KEYED: "", UPSTREAMS_SCRAPE: "", UPSTREAMS_SHARDED: "" };

export function parseUpstreams(upstreams: unknown, variables: object = {}) {
  return readUpstreams({ ...env, ...NO_OTHERS, ...variables, UPSTREAMS: upstreams as object });
}

/** How many callers hold a permit of an upstream, and how many wait for one. */
export async function loadOf(name: string) {
  const { held, waiting } = await env.SEMAPHORE.getByName(name).status();
  return { held: held.count, waiting: waiting.count };
}

export const IDLE = { held: 0, waiting: 0 };

/** Requests a permit from a semaphore directly. Its ticket is disposed when the test has ended. */
export async function acquireFrom(name: string, leaseId: string, change: Partial<PermitRequest> = {}) {
  const request = {
    holder: `holder of ${leaseId}`,
    priority: "interactive",
    isRetry: false,
    leaseMs: 60_000,
  };
  const acquired = await env.SEMAPHORE.getByName(name).acquire({
    ...(request as Omit<PermitRequest, "leaseId">),
    leaseId,
    ...change,
  });
  onTestFinished(() => acquired[Symbol.dispose]());
  return acquired;
}
