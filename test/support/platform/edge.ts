/** What the edge does between the Worker and a client: it may compress a response, and then weakens its ETag. */
import { platform } from "./platform.ts";

const COMPRESSED = /^(?:text\/|application\/(?:json|javascript|xml|problem\+json|ld\+json|wasm)|image\/svg)/i;

/** The response as a client gets it. The edge leaves alone what is coded, partial, or must not be transformed. */
export function throughEdge(request: Request, response: Response): Response {
  const { headers, status, body, webSocket } = response;
  const isCompressed =
    platform.edgeCompresses &&
    status === 200 &&
    body !== null &&
    !webSocket &&
    /\bgzip\b/.test(request.headers.get("accept-encoding") ?? "") &&
    !headers.has("content-encoding") &&
    !/\bno-transform\b/i.test(headers.get("cache-control") ?? "") &&
    COMPRESSED.test(headers.get("content-type") ?? "");
  if (!isCompressed) return response;
  const sent = new Headers(headers);
  sent.set("content-encoding", "gzip");
  sent.delete("content-length");
  const etag = sent.get("etag");
  if (etag !== null && !etag.startsWith("W/")) sent.set("etag", `W/${etag}`);
  return new Response(body.pipeThrough(new CompressionStream("gzip")), {
    headers: sent,
    status,
    encodeBody: "manual",
  });
}
