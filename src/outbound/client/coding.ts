/**
 * Content codings (RFC 9110 §8.4). An upstream's coded bytes pass as they are: `encodeResponseBody: "manual"` keeps the
 * runtime from decoding them when they are read, and `encodeBody: "manual"` from encoding them again when they are
 * sent. So lengths, ranges, digests and ETags stay true. Only code of this Worker gets its responses decoded.
 */
import { Duplex } from "node:stream";
import { createBrotliDecompress } from "node:zlib";
import type { Upstream } from "../upstreams.ts";
import { upstreamProblem } from "./errors.ts";

/** What code of this Worker can read. Brotli is decoded too, by an upstream that sends it unasked. */
export const CODE_ACCEPTS = "gzip";

/** A response whose body has the coding that its head says. */
export function asCoded(
  body: ReadableStream<Uint8Array> | Uint8Array | null,
  { status, statusText, headers }: Pick<Response, "status" | "statusText" | "headers">,
): Response {
  return new Response(body, { status, statusText, headers, encodeBody: "manual" });
}

/**
 * The codings that a client takes. Cloudflare's edge writes its own Accept-Encoding into each request, and codes the
 * response for the client; the client's own is beside it. Without one, no coding is asked for: a client that names
 * none mostly cannot decode.
 */
export function acceptedBy({ cf, headers }: Request): string {
  const own = cf?.clientAcceptEncoding;
  return (typeof own === "string" ? own : headers.get("accept-encoding"))?.trim() || "identity";
}

/** The same in few forms, so that clients share stored responses: of gzip and br those that are accepted, in order. */
export function normalizeAccepted(header: string): string {
  const weights = new Map<string, boolean>();
  for (const element of header.toLowerCase().split(",")) {
    const [coding = "", weight = ""] = element.split(";").map((part) => part.trim());
    weights.set(coding, !/^q\s*=\s*0(\.0*)?$/.test(weight));
  }
  const accepted = ["br", "gzip"].filter((coding) => weights.get(coding) ?? weights.get("*") ?? false);
  return accepted.join(", ") || "identity";
}

/**
 * The response with its body decoded, for code. One whose coding is not known stays as it is, as does a part of a
 * coded whole. Decoded, it may be as long as the upstream's responses may be.
 */
export function decoded(response: Response, { maxResponseBytes }: Upstream): Response {
  const coding = response.headers.get("content-encoding")?.trim().toLowerCase();
  const decoder = response.body && response.status !== 206 ? decoderOf(coding) : undefined;
  if (!response.body || !decoder) return response;
  const { status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const name of ["content-encoding", "content-length", "content-digest", "content-md5", "digest"])
    headers.delete(name);
  // Other bytes than those that the upstream's tag is for (RFC 9110 §8.8.1).
  const etag = headers.get("etag");
  if (etag?.startsWith('"')) headers.set("etag", `W/${etag}`);
  const body = response.body.pipeThrough(decoder).pipeThrough(atMost(maxResponseBytes));
  return new Response(body, { status, statusText, headers });
}

type Bytes = ReadableWritablePair<Uint8Array, Uint8Array>;

function decoderOf(coding: string | undefined): Bytes | undefined {
  if (coding === "gzip" || coding === "x-gzip") return new DecompressionStream("gzip");
  if (coding === "deflate") return new DecompressionStream("deflate");
  // oxlint-disable-next-line no-unsafe-type-assertion -- only the types of Node's web streams are others
  return coding === "br" ? (Duplex.toWeb(createBrotliDecompress()) as unknown as Bytes) : undefined;
}

function atMost(maxBytes: number): TransformStream<Uint8Array, Uint8Array> {
  let size = 0;
  return new TransformStream({
    transform(chunk, controller) {
      size += chunk.length;
      if (size > maxBytes)
        throw upstreamProblem(
          "response-too-large",
          `Decoded, the response is longer than ${maxBytes} bytes.`,
        );
      controller.enqueue(chunk);
    },
  });
}
