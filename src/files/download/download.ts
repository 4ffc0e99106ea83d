/** Reading a file by `GET` or `HEAD`: all of it or a range, with preconditions (RFC 9110 §13, §14). */
import { create as contentDisposition } from "content-disposition";
import { Problem } from "../../kernel/problem.ts";
import { reprDigest } from "../store/digests.ts";
import { essenceOf, servedType } from "../store/media-type.ts";
import { readCurrentVersion } from "../store/open-file.ts";
import { evaluatePreconditions, ifRangeMatches, readPreconditions } from "../store/preconditions.ts";
import { notFound, preconditionFailed } from "../store/problems.ts";
import { etagOf, type FoundFile, validatorsOf } from "../store/schema.ts";
import { contentRange, parseRange } from "./range.ts";

/**
 * What a browser may show in its window with `?disposition=inline`. None of these types can run a script or a
 * plug-in; HTML, SVG, XML and PDF can.
 */
const INLINE_TYPES = new Set([
  "text/plain",
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "image/avif",
  "audio/mpeg",
  "audio/mp4",
  "audio/ogg",
  "audio/wav",
  "audio/webm",
  "video/mp4",
  "video/ogg",
  "video/webm",
]);

/** Responds to a GET or HEAD. Throws a `Problem` 404 if there is no file, 412 for a precondition, 416 for a range. */
export async function download(env: Env, request: Request, id: string, isInline: boolean): Promise<Response> {
  const opened = await readCurrentVersion(env, id, async (row) => respond(env, request, row, isInline));
  if (!opened) throw notFound(id);
  return opened.value;
}

/** Null if the bytes are no longer there. */
async function respond(
  env: Env,
  request: Request,
  row: FoundFile,
  isInline: boolean,
): Promise<Response | null> {
  const { headers, method } = request;
  const current = validatorsOf(row);
  const result = evaluatePreconditions(readPreconditions(headers), current, true);
  if (result === "failed") throw preconditionFailed(row.id);
  if (result === "not-modified") return new Response(null, { status: 304, headers: validatorHeaders(row) });
  const all = { ...validatorHeaders(row), ...contentHeaders(row, isInline) };
  // Ranges are defined only for GET (§14.2).
  if (method === "HEAD")
    return new Response(null, { headers: { ...all, "Content-Length": String(row.size) } });
  const rangeApplies = ifRangeMatches(headers.get("If-Range"), current);
  const range = rangeApplies ? parseRange(headers.get("Range"), row.size) : undefined;
  if (range === "unsatisfiable") {
    throw new Problem("range-not-satisfiable", `The file ${row.id} has ${row.size} bytes.`, {
      headers: { "Content-Range": `bytes */${row.size}`, "Accept-Ranges": "bytes" },
    });
  }
  const object = await env.FILES.get(row.blob, range ? { range } : {});
  if (!object) return null;
  const length = String(range?.length ?? row.size);
  const partial = range ? { "Content-Range": contentRange(range, row.size) } : {};
  return new Response(object.body, {
    status: range ? 206 : 200,
    headers: { ...all, ...partial, "Content-Length": length },
  });
}

function validatorHeaders(row: FoundFile): Record<string, string> {
  return {
    ETag: etagOf(row),
    "Last-Modified": new Date(row.last_modified_ms).toUTCString(),
    "Cache-Control": "private, no-cache",
  };
}

/** Whatever the bytes are, they cannot run as a page or script, in this origin or any other. */
function contentHeaders(row: FoundFile, isInline: boolean): Record<string, string> {
  const type = isInline && INLINE_TYPES.has(essenceOf(row.content_type)) ? "inline" : "attachment";
  return {
    "Content-Type": servedType(row.content_type),
    "Content-Disposition": contentDisposition(row.filename, { type }),
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Accept-Ranges": "bytes",
    "Repr-Digest": reprDigest(row.sha256),
  };
}
