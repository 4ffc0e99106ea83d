/**
 * The body of a request that is JSON.
 *
 * `createRouter` puts `readJsonBody` before the schema of every route that takes JSON, so that no route can read more
 * than the limit, and no schema sees a value that differs from what was sent. JavaScript has only doubles: it reads
 * `1e400` as Infinity, which becomes `null` when it is stored, and 9007199254740993 as another number. RFC 8259 §6
 * calls both not interoperable; here they are a 422 that names their place. The value that a schema has accepted is
 * therefore the value that was sent, and the value that is stored.
 */
import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./app-env.ts";
import { rejectCodings } from "./headers.ts";
import { inspectJson } from "./json-numbers.ts";
import { Problem } from "./problem.ts";

/** The limit for a body, in bytes: it is in memory as a whole, several times. */
export const MAX_JSON_BYTES = 8 * 1024 * 1024;

/** How deeply objects and arrays may be nested. What reads and writes JSON calls itself for each level. */
const MAX_DEPTH = 3_000;

/** Whether a Content-Type, with or without parameters, is that of JSON (RFC 6839 §3.1). */
export const isJsonType = (contentType: string) =>
  /^application\/([\w.-]+\+)?json$/i.test(contentType.split(";")[0]?.trim() ?? "");

/** For the routes that take JSON. Throws a `Problem` 400, 413, 415 or 422. A body of another type is left for the 415. */
export const readJsonBody: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (isJsonType(c.req.header("Content-Type") ?? "")) {
    rejectCodings(c.req.raw.headers, "Send the JSON without Content-Encoding (identity).");
    const value: unknown = parseJson(decode(await readWithin(c.req.raw, MAX_JSON_BYTES)));
    // What the schema's validator calls.
    Object.assign(c.req, { json: async () => value });
  }
  await next();
};

/**
 * Whether the request has no bytes, however it is framed: without a body, with `Content-Length: 0`, or chunked without
 * a chunk (RFC 9112 §6, §7.1). Waits for the first byte if it has to. The body can be read afterwards.
 */
export async function isEmptyBody(request: Request): Promise<boolean> {
  if (request.body === null) return true;
  const length = request.headers.get("Content-Length");
  if (length !== null) return /^0+$/.test(length);
  const reader = request.clone().body?.getReader();
  for (;;) {
    const chunk = await reader?.read();
    if (!chunk || chunk.done) return true;
    if (chunk.value.byteLength === 0) continue;
    // The rest stays in the request. Nobody waits for this branch.
    reader?.cancel().catch(() => undefined);
    return false;
  }
}

/** The value of a text. Throws a `Problem` 400 if it is not JSON, and 422 if it cannot be kept as it is. */
function parseJson(text: string): unknown {
  const value = tryParse(text);
  const { unkept, isTooDeep } = inspectJson(text, MAX_DEPTH);
  if (isTooDeep) {
    throw new Problem("invalid", `The body has more than ${MAX_DEPTH} objects or arrays inside each other.`);
  }
  if (unkept.length === 0) return value;
  throw new Problem("invalid", "The request's json has numbers that cannot be kept as they are.", {
    errors: unkept.map(({ at, number }) => ({
      at: `json${at}`,
      detail: `${number} would be changed: a number here is a double (RFC 8259 §6). Send it as a string.`,
    })),
  });
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem("malformed", "Malformed JSON in request body", { cause: error });
  }
}

/** RFC 8259 §8.1: JSON is UTF-8. Bytes that are not must not become other characters in silence. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch (error) {
    throw new Problem("malformed", "The JSON in the request body is not UTF-8.", { cause: error });
  }
}

async function readWithin(request: Request, maxBytes: number): Promise<Uint8Array> {
  const length = request.headers.get("Content-Length");
  if (Number(length ?? 0) > maxBytes) throw tooLarge(maxBytes);
  // Reading it in chunks would cost more than all else that is done with it.
  if (length !== null && /^\d+$/.test(length)) return readWhole(request, maxBytes);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunksOf(request)) {
    size += chunk.byteLength;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size);
}

/** The server lets no more bytes in than were announced; a request that code has made may have more. */
async function readWhole(request: Request, maxBytes: number): Promise<Uint8Array> {
  const bytes = await request.arrayBuffer().catch((error: unknown) => {
    throw brokenOff(error);
  });
  if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes);
  return new Uint8Array(bytes);
}

/** The chunks of the body. */
async function* chunksOf({ body }: Request): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  try {
    yield* body;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw brokenOff(error);
  }
}

/** A body that breaks off is a `Problem`, not a bug. */
const brokenOff = (cause: unknown) =>
  new Problem("client-gone", "The body broke off before its end.", { cause });

function tooLarge(maxBytes: number): Problem {
  return new Problem("too-large", `The body of this request may have at most ${maxBytes} bytes.`);
}
