/**
 * How responses lie in the Cache API.
 *
 * Each is wrapped: its head is JSON in one header, and its body is bytes. So the Cache neither codes them again nor
 * applies rules of its own to them. Its key is a hash of everything that the response depends on, the upstream's
 * settings included: after a deploy with another origin or another key, nothing of before is served.
 *
 * An upstream that can be changed through Sluice has a *generation* for each URL, a random id under a key that depends
 * on the URL only, in whatever way it is written, and under whatever names its upstream is configured. It is part of
 * the keys of all the responses of that URL, in whatever language or coding. Deleting it makes all of them unreachable,
 * also if one is on its way into the cache. If the Cache drops a generation, the responses are fetched again.
 */
import { createHash, randomUUID } from "node:crypto";
import { z } from "zod";
import type { Upstream } from "../upstreams.ts";

export const headSchema = z.object({
  status: z.int(),
  statusText: z.string(),
  headers: z.array(z.tuple([z.string(), z.string()])),
  receivedAtMs: z.number(),
  /** In seconds, as the age when it was received. */
  initialAgeS: z.number(),
  lifetimeS: z.number(),
});

/** What is kept of a response besides its body. */
export type StoredHead = z.output<typeof headSchema>;

export interface Stored {
  head: StoredHead;
  body: Uint8Array;
}

const HEAD = "sluice-head";
/** The generation of what is never changed. */
const ONLY = "only";
const YEAR_S = 31_536_000;

/** The place of one response: of one URL, as it is for the values of some headers. */
export interface Place {
  url: URL;
  generation: string;
  key: Request;
}

/** The place of a response. With `isNew: false`, undefined if nothing has been stored for the URL. */
export async function findPlace(
  upstream: Upstream,
  url: URL,
  variant: readonly string[],
  { isNew }: { isNew: boolean },
): Promise<Place | undefined> {
  const generation =
    (await readGeneration(upstream, url)) ?? (isNew ? await beginGeneration(upstream, url) : undefined);
  if (generation === undefined) return undefined;
  return {
    url,
    generation,
    key: keyOf(upstream.name, settingsOf(upstream), url.href, generation, ...variant),
  };
}

export async function readStored({ key }: Place): Promise<Stored | undefined> {
  const found = await caches.default.match(key);
  if (!found) return undefined;
  const head = headSchema.parse(JSON.parse(decodeURIComponent(found.headers.get(HEAD) ?? "")));
  return { head, body: new Uint8Array(await found.arrayBuffer()) };
}

/** Stores a response, unless its URL has been invalidated since the place was found. */
export async function writeStored(upstream: Upstream, place: Place, { head, body }: Stored): Promise<void> {
  if ((await readGeneration(upstream, place.url)) !== place.generation) return;
  const headers = {
    "cache-control": `max-age=${remainingSeconds(head)}`,
    [HEAD]: encodeURIComponent(JSON.stringify(head)),
  };
  await caches.default.put(place.key, new Response(body, { headers }));
}

/** How long the response is fresh from when it came. */
export const remainingSeconds = ({ lifetimeS, initialAgeS }: StoredHead): number =>
  Math.ceil(lifetimeS - initialAgeS);

/** The key of a response that no request through Sluice changes: the same as its place would have. */
export const keyOfReadOnly = (upstream: Upstream, url: URL, variant: readonly string[]): Request =>
  keyOf(upstream.name, settingsOf(upstream), url.href, ONLY, ...variant);

/** Makes everything that is stored for these URLs unreachable, in this data centre. */
export async function forget(upstream: Upstream, urls: readonly URL[]): Promise<void> {
  const keys = new Map(urls.map((url) => generationKey(upstream, url)).map((key) => [key.url, key]));
  await Promise.all([...keys.values()].map((key) => caches.default.delete(key)));
}

/** An upstream that is only read has one generation, which costs no look-up. */
async function readGeneration(upstream: Upstream, url: URL): Promise<string | undefined> {
  if (!upstream.isChangedHere) return ONLY;
  const found = await caches.default.match(generationKey(upstream, url));
  return found?.text();
}

async function beginGeneration(upstream: Upstream, url: URL): Promise<string> {
  const id = randomUUID();
  const response = new Response(id, { headers: { "cache-control": `max-age=${YEAR_S}` } });
  await caches.default.put(generationKey(upstream, url), response);
  return id;
}

const generationKey = ({ target }: Upstream, url: URL): Request =>
  keyOf("generation", JSON.stringify(target), plainForm(url));

/**
 * One form for all the ways to write a URL (RFC 3986 §6.2), and for some that only most servers take for the same: a
 * slash more or less, encoded characters. To forget too much costs a call.
 */
function plainForm({ pathname, search }: URL): string {
  const [path, query] = [pathname, search].map((part) =>
    part.replaceAll(/%[0-9a-f]{2}/gi, (escape) =>
      escape < "%8" ? decodeURIComponent(escape) : escape.toUpperCase(),
    ),
  );
  return JSON.stringify([path?.split("/").filter((segment) => segment !== ""), query]);
}

function keyOf(...parts: string[]): Request {
  const hash = createHash("sha256").update(JSON.stringify(parts));
  return new Request(`https://cache.sluice.internal/${hash.digest("hex")}`);
}

const settings = new WeakMap<Upstream, string>();

/** Whatever of an upstream's configuration a response depends on, secrets included. */
function settingsOf(upstream: Upstream): string {
  const known =
    settings.get(upstream) ?? JSON.stringify([upstream.target, upstream.headers, upstream.cacheSeconds]);
  settings.set(upstream, known);
  return known;
}
