/** A website for the tests of crawls: an upstream that has the pages which a test writes, and counts the calls of each. */
import { resetUpstream, upstream } from "./scripted-upstream.ts";

type PageOf = string | ((request: Request) => Response | Promise<Response>);

/** The origin that an embedded upstream sees. */
export const ORIGIN = "http://upstream.internal";

const asHtml = (text: string) => new Response(text, { headers: { "Content-Type": "text/html" } });

/**
 * Serves these pages, by path and query. Text is HTML; in robots.txt and in what ends in .xml it is what it is. Any other path
 * is a 404. Returns how often each address was called, also those that are not there.
 */
export function serveSite(pages: Record<string, PageOf>): Map<string, number> {
  const calls = new Map<string, number>();
  resetUpstream((request) => {
    const address = request.url.slice(ORIGIN.length);
    calls.set(address, (calls.get(address) ?? 0) + 1);
    const page = pages[address];
    if (page === undefined) return new Response("not here", { status: 404 });
    if (typeof page === "function") return page(request);
    return /\.(?:txt|xml)$/.test(address) ? new Response(page) : asHtml(page);
  });
  return calls;
}

/** HTML with links to these references. */
export const linksTo = (...references: string[]) =>
  `<title>t</title>${references.map((reference) => `<a href="${reference}">x</a>`).join(" ")}`;

export const maxInFlight = () => upstream.maxInFlight;
