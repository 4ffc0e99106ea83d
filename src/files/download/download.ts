/** Reading a file by `GET` or `HEAD`: all of it or a range, with preconditions (RFC 9110 §13, §14). */
import { create as contentDisposition } from "content-disposition";
import { type Bounds, isWithin } from "../../kernel/bounds.ts";
import { passiveContentPolicy } from "../../kernel/passive-content.ts";
import { Problem } from "../../kernel/problem.ts";
import { reprDigest } from "../store/digests.ts";
import { servedType } from "../store/media-type.ts";
import { readCurrentVersion } from "../store/open-file.ts";
import { evaluatePreconditions, ifRangeMatches, readPreconditions } from "../store/preconditions.ts";
import { notFound, preconditionFailed } from "../store/problems.ts";
import { etagOf, type FoundFile, validatorsOf } from "../store/schema.ts";
import { inlineType } from "./inline.ts";
import { contentRange, parseRange } from "./parse-range.ts";

/** Responds to a GET or HEAD. Throws a `Problem` 404 if there is no file within the bounds, 412 for a precondition, 416 for a range. */
export async function download(
  env: Env,
  request: Request,
  id: string,
  isInline: boolean,
  bounds?: Bounds,
): Promise<Response> {
  const opened = await readCurrentVersion(env, id, async (row) => {
    if (!isWithin(bounds, row)) throw notFound(id);
    return respond(env, request, row, isInline);
  });
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
    // The edge may compress what it may transform, and then weakens the ETag, which no If-Match or If-Range matches.
    "Cache-Control": "private, no-cache, no-transform",
  };
}

/** Whatever the bytes are, they cannot run as a page or script, in this origin or any other. */
function contentHeaders(row: FoundFile, isInline: boolean): Record<string, string> {
  const shown = isInline ? inlineType(row.content_type) : undefined;
  return {
    "Content-Type": shown ?? servedType(row.content_type),
    "Content-Disposition": contentDisposition(row.filename, {
      type: shown === undefined ? "attachment" : "inline",
    }),
    "Content-Security-Policy": passiveContentPolicy(shown ?? null),
    "X-Content-Type-Options": "nosniff",
    "Accept-Ranges": "bytes",
    "Repr-Digest": reprDigest(row.sha256),
  };
}
