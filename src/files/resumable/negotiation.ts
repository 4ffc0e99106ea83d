/** Which protocol a request speaks. Both work on the same uploads; headers and media types select one. */

import { ietf } from "./ietf.ts";
import { hasPartialUpload, IETF_HEADERS } from "./ietf-fields.ts";
import type { Protocol } from "./protocol.ts";
import { hasTusMediaType, TUS_HEADERS, tus } from "./tus.ts";

/**
 * The protocol that a request names by its version or, without one, by what only one of them has. Undefined if it names
 * none: a HEAD of the draft, and anything that speaks neither.
 */
export function spokenProtocol(headers: Headers): Protocol | undefined {
  const hasAny = (names: string[]) => names.some((name) => headers.has(name));
  if (headers.has("Tus-Resumable")) return headers.has("Upload-Draft-Interop-Version") ? ietf : tus;
  if (hasAny(IETF_HEADERS) || hasPartialUpload({ headers })) return ietf;
  return hasAny(TUS_HEADERS) || hasTusMediaType({ headers }) ? tus : undefined;
}

/** The protocol in which an upload was created, for a request that names none. */
export const protocolNamed = (name: Protocol["name"] | undefined): Protocol => (name === "tus" ? tus : ietf);
