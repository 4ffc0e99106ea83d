/**
 * Whether the Cache API keeps anything here. On workers.dev, in previews and behind Access it does nothing, without a
 * word: what is put into it cannot be found. It depends on the address that the request came to, so an isolate may see
 * both. So one entry is looked for, and a response counts as stored only where that can be found.
 */
import { countSubrequests } from "../../kernel/subrequests.ts";

const PROBE = "https://cache.sluice.internal/probe";
const DAY_S = 86_400;
/** After a probe that failed, the Cache API is left alone for so long. */
const PAUSE_MS = 60_000;

let failedAtMs = Number.NEGATIVE_INFINITY;

/** False if it is known to keep nothing. */
export function mayKeep(): boolean {
  const sinceMs = Date.now() - failedAtMs;
  return sinceMs < 0 || sinceMs >= PAUSE_MS;
}

/** Whether what is stored now can be found again. */
export async function keepsAnything(): Promise<boolean> {
  if (!mayKeep()) return false;
  if (await hasProbe()) return true;
  countSubrequests({ internal: 1 });
  await caches.default.put(PROBE, new Response(null, { headers: { "cache-control": `max-age=${DAY_S}` } }));
  if (await hasProbe()) return true;
  failedAtMs = Date.now();
  return false;
}

async function hasProbe(): Promise<boolean> {
  countSubrequests({ internal: 1 });
  return (await caches.default.match(PROBE)) !== undefined;
}
