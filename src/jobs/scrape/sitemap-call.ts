/**
 * Reads a part of a sitemap: its entries from one number on, as many as there is room for.
 *
 * A sitemap may have 50,000 entries, and an index as many sitemaps: more than a checkpoint holds. So what is not read yet is
 * kept as the number of the next entry, and the sitemap is fetched again when its turn comes.
 */
import { addressOf } from "./addresses.ts";
import { get } from "./calls.ts";
import type { SitemapToRead } from "./crawl-state.ts";
import { SitemapReader } from "./sitemap.ts";
import type { Visitor } from "./visit.ts";

const ACCEPT = "application/xml,text/xml;q=0.9,text/plain;q=0.5,*/*;q=0.1";
/** Of a sitemap, uncompressed (https://www.sitemaps.org/protocol.html). */
const MAX_SITEMAP_BYTES = 50 * 1024 * 1024;
/** Of an index, so many sitemaps are taken at once. */
const MAX_PARTS = 20;

export type SitemapAnswer =
  /** `next`: what is to be read in its place, the first of them first. */
  | { is: "read"; next: SitemapToRead[] }
  | { is: "busy"; afterMs: number; reason: string }
  | { is: "failed"; reason: string };

/** `take` is given one address of a page after the other, and returns false if it has no room for it. */
export async function readSitemap(
  visitor: Pick<Visitor, "caller" | "upstream" | "origin">,
  sitemap: SitemapToRead,
  take: (address: string) => boolean,
): Promise<SitemapAnswer> {
  const { caller, upstream, origin } = visitor;
  const answer = await get(caller, upstream, sitemap.address, { accept: ACCEPT });
  if (answer.is === "busy" || answer.is === "failed") return answer;
  if (answer.is === "refused") return { is: "failed", reason: "the upstream may not be called there" };
  const { response } = answer;
  if (!response.ok || !response.body) {
    await response.body?.cancel();
    return { is: "failed", reason: `the upstream responded with ${response.status}` };
  }
  try {
    return { is: "read", next: await readEntries(response.body, sitemap, origin, take) };
  } catch (error) {
    caller.signal.throwIfAborted();
    return { is: "failed", reason: error instanceof Error ? error.message : "the response broke off" };
  }
}

async function readEntries(
  body: ReadableStream<Uint8Array>,
  { address, from, isPart }: SitemapToRead,
  origin: string,
  take: (address: string) => boolean,
): Promise<SitemapToRead[]> {
  const reader = new SitemapReader();
  const parts: SitemapToRead[] = [];
  let number = 0;
  for await (const text of textOf(await uncompressed(body))) {
    const { isIndex, locations } = text === END ? reader.end() : reader.write(text);
    for (const location of locations) {
      if (number++ < from) continue;
      const found = addressOf(location, `${origin}${address}`, origin);
      // Only the origin's own pages; and an index leads to sitemaps, not to other indexes.
      if (typeof found !== "object" || (isIndex && isPart)) continue;
      const isTaken = isIndex ? parts.length < MAX_PARTS : take(found.address);
      if (isIndex && isTaken) parts.push({ address: found.address, from: 0, isPart: true });
      if (!isTaken) return [...parts, { address, from: number - 1, isPart }];
    }
  }
  return parts;
}

/** Marks the end of the text. */
const END = "\u0000end";

async function* textOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_SITEMAP_BYTES) throw new Error(`it is longer than ${MAX_SITEMAP_BYTES} bytes`);
    yield decoder.decode(chunk, { stream: true });
  }
  yield END;
}

/** A sitemap may be a gzip file, which its first bytes show. */
async function uncompressed(body: ReadableStream<Uint8Array>): Promise<ReadableStream<Uint8Array>> {
  const reader = body.getReader();
  const start: Uint8Array[] = [];
  let size = 0;
  while (size < 2) {
    const { done, value } = await reader.read();
    if (done) break;
    start.push(value);
    size += value.length;
  }
  const first = Buffer.concat(start);
  const whole = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(first),
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: async (reason) => reader.cancel(reason),
  });
  return first[0] === 0x1f && first[1] === 0x8b ? whole.pipeThrough(new DecompressionStream("gzip")) : whole;
}
