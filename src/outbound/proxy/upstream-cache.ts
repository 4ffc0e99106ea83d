/**
 * The entrypoint that Workers Cache is in front of (`exports.UpstreamCache` in wrangler.toml). It runs when nothing is
 * stored, once for all requests of a data centre that wait for the same response. It makes the call, so it holds the
 * permit, on behalf of the first of them.
 *
 * Invariants: a response is kept only under the key of what it depends on, whoever asks. A body that may be kept is read
 * whole first, so that no part of one is kept.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { Problem } from "../../kernel/problem.ts";
import { inRootSpan } from "../../kernel/spans.ts";
import type { Caller } from "../client/call-under-permit.ts";
import { type ChunkReader, readChunks, streamOfLength } from "../client/chunks.ts";
import { asCoded } from "../client/coding.ts";
import { contentLength } from "../client/content-length.ts";
import { toCaller, USER_AGENT } from "../client/headers.ts";
import { targetOf } from "../client/path.ts";
import { callWithRetries, type UpstreamResponse } from "../client/retries.ts";
import { readUpstreams, type Upstream } from "../upstreams.ts";
import { headToStore, KEY_HEADERS, MAX_STORED_BYTES, withCacheDefaults } from "./cache.ts";
import { type CachedCall, callIn, problemResult, toResponse } from "./cached-call.ts";
import { keyOfReadOnly, remainingSeconds } from "./store.ts";

/** Nobody calls it for this path. Whether the response has a Cf-Cache-Status says whether the cache is there. */
export const PROBE_URL = "https://cache.sluice.internal/probe";
const PROBE_S = 86_400;

export class UpstreamCache extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    if (request.url === PROBE_URL) return toResponse({ isMissing: true }, null, PROBE_S);
    const call = callIn(request.headers);
    const upstream = readUpstreams(this.env).get(call.upstream);
    const key = upstream && keyOfReadOnly(upstream, targetOf(upstream, call.path), call.variant);
    // Another version of the Worker may have other settings.
    if (!upstream || call.isLookup || key?.url !== request.url)
      return toResponse({ isMissing: true }, null, 0);
    try {
      return await this.#respond(call, upstream, request.signal);
    } catch (error) {
      if (error instanceof Problem) return toResponse(problemResult(error), null, 0);
      throw error;
    }
  }

  async #respond(call: CachedCall, upstream: Upstream, signal: AbortSignal): Promise<Response> {
    const { id, path, redirect, requestId, name, priority, traceparent, key, weight } = call;
    const claim = { ...(key !== undefined && { key }), ...(weight !== undefined && { weight }) };
    const { env, ctx } = this;
    const caller: Caller = { env, ctx, requestId, name, priority, signal };
    const headers = headersOf(upstream, call.variant);
    const request = { method: "GET", path, headers, body: null, claim, ...(redirect && { redirect }) };
    const attributes = { "sluice.upstream": upstream.name };
    const result = await inRootSpan({ env, ctx, traceparent }, "cache fill", { attributes }, async () =>
      callWithRetries(caller, upstream, request),
    );
    const { queuedMs, upstreamMs, tries, url, isRedirected } = result;
    const { response, head, isStorable } = toStore(upstream, result);
    const isKept = isStorable && !isRedirected; // a redirect may lead elsewhere tomorrow
    const body = response.body && isKept ? await readWhole(response.body) : response.body;
    const isWhole = body instanceof Uint8Array;
    const described = { id, head, url: url.href, timing: { queuedMs, upstreamMs, tries } };
    const sent = isWhole || !body ? body : ofLength(body, contentLength(response.headers));
    return toResponse({ ...described, isStorable: isWhole }, sent, isWhole ? remainingSeconds(head) : 0);
  }
}

/** The request as it travels: of its callers' headers, only those of the key. */
function headersOf(upstream: Upstream, variant: readonly string[]): Headers {
  const headers = new Headers({ "user-agent": USER_AGENT });
  for (const [i, name] of KEY_HEADERS.entries()) if (variant[i]) headers.set(name, variant[i]);
  for (const [name, value] of Object.entries(upstream.headers)) headers.set(name, value);
  return headers;
}

function toStore(upstream: Upstream, { response: sent, upstreamMs }: UpstreamResponse) {
  const receivedAtMs = Date.now();
  const headers = withCacheDefaults(upstream, sent, receivedAtMs);
  const { status, statusText } = sent;
  const response = asCoded(sent.body, { status, statusText, headers: toCaller(headers, upstream) });
  const head = headToStore(upstream, response, { headers, receivedAtMs, upstreamMs });
  const unkept = { receivedAtMs, initialAgeS: 0, lifetimeS: 0, headers: [...response.headers] };
  return { response, head: head ?? { status, statusText, ...unkept }, isStorable: head !== undefined };
}

/** The bytes; if they are too many to keep, a stream of them. */
async function readWhole(body: ReadableStream<Uint8Array>): Promise<Uint8Array | ReadableStream<Uint8Array>> {
  const reader = readChunks(body);
  const chunks: Uint8Array[] = [];
  for (let size = 0; size <= MAX_STORED_BYTES; ) {
    const chunk = await reader.read();
    if (!chunk) return Buffer.concat(chunks);
    chunks.push(chunk);
    size += chunk.length;
  }
  return streamOf(chunks, reader, undefined);
}

const ofLength = (body: ReadableStream<Uint8Array>, length: number | undefined) =>
  streamOf([], readChunks(body), length);

const streamOf = (chunks: Uint8Array[], reader: ChunkReader, length: number | undefined) =>
  streamOfLength(length, {
    async pull(controller) {
      const chunk = chunks.shift() ?? (await reader.read());
      if (chunk) controller.enqueue(chunk);
      else controller.close();
    },
    cancel: (reason) => reader.cancel(reason),
  });
