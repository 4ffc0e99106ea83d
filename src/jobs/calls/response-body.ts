/** The body of a response, as the result of a task can keep it. */
import { inspectJson } from "../../kernel/json-numbers.ts";

/** How many bytes of a body are kept. */
export const MAX_KEPT_BYTES = 64 * 1024;
const MAX_JSON_DEPTH = 1_000;

/** `null`: there is no body. */
export interface KeptBody {
  body: unknown;
  encoding: "json" | "text" | "base64" | null;
  /** True if the body was longer: then this is its beginning, as text or base64. */
  truncated: boolean;
}

/** Reads a body up to what is kept, and cancels the rest. */
export async function keepBody(response: Response): Promise<KeptBody> {
  const { bytes, isWhole } = await readBeginning(response, MAX_KEPT_BYTES);
  if (bytes.length === 0) return { body: null, encoding: null, truncated: false };
  const type = response.headers.get("content-type") ?? "";
  const text = decodeText(bytes, charsetOf(type), isWhole);
  if (text === undefined)
    return { body: Buffer.from(bytes).toString("base64"), encoding: "base64", truncated: !isWhole };
  const json = isWhole && isJson(type) ? parseJson(text) : undefined;
  if (json) return { body: json.value, encoding: "json", truncated: false };
  return { body: text, encoding: "text", truncated: !isWhole };
}

async function readBeginning(
  { body }: Response,
  maxBytes: number,
): Promise<{ bytes: Uint8Array; isWhole: boolean }> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop cancels the body.
  for await (const chunk of body ?? []) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxBytes) return { bytes: Buffer.concat(chunks).subarray(0, maxBytes), isWhole: false };
  }
  return { bytes: Buffer.concat(chunks), isWhole: true };
}

const charsetOf = (type: string): string => /;\s*charset\s*=\s*"?([\w-]{1,40})/i.exec(type)?.[1] ?? "utf-8";

const isJson = (type: string): boolean =>
  /^application\/(?:[\w.+-]{1,100}\+)?json\s*(?:;|$)/i.test(type.trim());

/** Undefined if the bytes are no text. A beginning may end in the middle of a character. */
function decodeText(bytes: Uint8Array, charset: string, isWhole: boolean): string | undefined {
  try {
    const text = new TextDecoder(charset, { fatal: true, ignoreBOM: false }).decode(bytes, {
      stream: !isWhole,
    });
    return text.includes("\0") ? undefined : text;
  } catch {
    return undefined;
  }
}

/** Undefined if it is not valid, or if a value of JavaScript could not keep it as it is: then it is kept as text. */
function parseJson(text: string): { value: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const { unkept, isTooDeep } = inspectJson(text, MAX_JSON_DEPTH);
    return unkept.length === 0 && !isTooDeep ? { value } : undefined;
  } catch {
    return undefined;
  }
}
