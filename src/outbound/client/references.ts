/**
 * References to other resources in the head of a response. Those that lead to the upstream itself are rewritten to
 * lead there through Sluice; as they are, `/items/5` would lead to a path of Sluice's own.
 */
import type { Upstream } from "../upstreams.ts";
import { originOf } from "./path.ts";

/** Location and Content-Location (RFC 9110 §10.2.2, §8.7) and Link (RFC 8288 §3), as seen by a caller of Sluice. */
export function mapReferences(headers: Headers, upstream: Upstream, from: URL): void {
  for (const name of ["location", "content-location"]) {
    const reference = headers.get(name);
    if (reference !== null) headers.set(name, throughSluice(reference, upstream, from));
  }
  const link = headers.get("link");
  if (link !== null) headers.set("link", mapLinks(link, upstream, from));
}

/**
 * A reference in a response from `from`: to `/fetch/{upstream}/…` if it leads to the upstream. Others stay as they are,
 * except that one relative to another origin, after a redirect, becomes absolute.
 */
function throughSluice(reference: string, upstream: Upstream, from: URL): string {
  if (!URL.canParse(reference, from.href)) return reference;
  const to = new URL(reference, from);
  const isOwn = to.origin === originOf(upstream) && to.username === "" && to.password === "";
  if (isOwn) return `/fetch/${upstream.name}${to.pathname}${to.search}${to.hash}`;
  const isRelative = !/^\s*([a-z][a-z0-9+.-]*:|\/\/)/i.test(reference);
  return isRelative ? to.href : reference;
}

/** The targets of links, and what they start from. A bracket or quote that is never closed ends with the header. */
function mapLinks(header: string, upstream: Upstream, from: URL): string {
  return header.replaceAll(
    /<([^>]*)(>|$)|(;\s*anchor\s*=\s*)?"((?:[^"\\]|\\.)*)("|\\?$)/gi,
    (all: string, target: string | undefined, close: string, anchor: string | undefined, quoted: string) => {
      if (target !== undefined && close !== "") return `<${throughSluice(target, upstream, from)}>`;
      return anchor === undefined ? all : `${anchor}"${throughSluice(quoted, upstream, from)}"`;
    },
  );
}
