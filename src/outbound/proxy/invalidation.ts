/**
 * What is stored, and no longer true (RFC 9111 §4.4).
 *
 * The head of a response decides: what a request has changed is changed, whatever becomes of the response's body, of
 * the redirect that it is, or of its client.
 */
import { errorFields, log } from "../../kernel/log.ts";
import type { ResponseHead } from "../client/call.ts";
import { originOf } from "../client/path.ts";
import { SAFE_METHODS, type Upstream } from "../upstreams.ts";
import { forget } from "./store.ts";

/**
 * Forgets, in this data centre, what is stored for the URLs of requests that may have changed something and whose
 * responses are no errors, and for those of the same origin that their responses name.
 */
export async function invalidate(upstream: Upstream, heads: readonly ResponseHead[]): Promise<void> {
  if (!upstream.isChangedHere) return;
  const urls = heads.filter((head) => hasChanged(upstream, head)).flatMap(urlsOf);
  try {
    await forget(upstream, urls);
  } catch (error) {
    log("warn", "cache not writable", { upstream: upstream.name, ...errorFields(error) });
  }
}

const hasChanged = (upstream: Upstream, { method, status, url }: ResponseHead): boolean =>
  !SAFE_METHODS.includes(method) && status < 400 && url.origin === originOf(upstream);

function urlsOf({ url, headers }: ResponseHead): URL[] {
  const named = ["location", "content-location"].flatMap((name) => {
    const reference = headers.get(name);
    const to = reference === null ? null : URL.parse(reference, url.href);
    return to?.origin === url.origin ? [to] : [];
  });
  return [url, ...named];
}
