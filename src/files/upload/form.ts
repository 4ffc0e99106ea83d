/**
 * Reads form data (RFC 7578) as a stream, only as fast as the files in it are consumed, one after the other. So
 * memory use does not depend on their size or number.
 */
import { parse as parseType } from "content-type";
import { Problem } from "../../kernel/problem.ts";
import { readChunks } from "../store/body.ts";
import { parseFormDisposition } from "./form-disposition.ts";
import { MultipartReader, type PartHeader } from "./multipart.ts";

export interface FilePart {
  /** The name of the form field. */
  field: string;
  /** The name of the file as the client sent it; may be empty. */
  filename: string;
  contentType: string;
  chunks: AsyncIterable<Uint8Array>;
}

interface FormHandlers {
  /** Must read all the chunks, or reject. */
  onFile: (part: FilePart) => Promise<void>;
  /** Called for a field that is not a file. */
  onField: (name: string, value: string) => void;
}

/** Generous for a form: anything larger is an attack. Sizes are in bytes. */
export const FORM_LIMITS = {
  parts: 200,
  files: 100,
  headers: 20,
  headerSize: 8 * 1024,
  fieldNameSize: 256,
  fieldSize: 64 * 1024,
};

/** Reads the whole form. Rejects with a `Problem` if it is malformed, exceeds a limit, or a handler rejects. */
export async function readForm(request: Request, { onFile, onField }: FormHandlers): Promise<void> {
  const reader = new MultipartReader(readChunks(request.body), readBoundary(request), FORM_LIMITS);
  let parts = 0;
  let files = 0;
  try {
    for (let header = await reader.next(); header; header = await reader.next()) {
      if (++parts > FORM_LIMITS.parts) throw overLimit(`more than ${FORM_LIMITS.parts} parts`);
      const { name, filename, contentType } = readHeader(header);
      if (filename === undefined) {
        onField(name, await readText(name, reader.content()));
      } else {
        if (++files > FORM_LIMITS.files) throw overLimit(`more than ${FORM_LIMITS.files} files`);
        await onFile({ field: name, filename, contentType, chunks: reader.content() });
      }
    }
  } finally {
    await reader.close();
  }
}

async function readText(name: string, chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const texts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > FORM_LIMITS.fieldSize) {
      throw overLimit(`more than ${FORM_LIMITS.fieldSize} bytes in the field ${JSON.stringify(name)}`);
    }
    texts.push(chunk);
  }
  return Buffer.concat(texts).toString("utf8");
}

/** RFC 2046 §5.1.1. */
const BOUNDARY = /^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/;

function readBoundary(request: Request): string {
  const { type, parameters } = parseType(request.headers.get("Content-Type") ?? "");
  if (type !== "multipart/form-data") {
    throw new Problem("unsupported-media", "Send the form as multipart/form-data.", {
      headers: { "Accept-Post": "multipart/form-data" },
    });
  }
  const { boundary = "" } = parameters;
  if (BOUNDARY.test(boundary)) return boundary;
  throw new Problem("malformed", "The Content-Type has no boundary, or one that is not valid.");
}

/** Reads the header of a part, which is UTF-8. `filename` is undefined for a field that is not a file. */
function readHeader(header: PartHeader): { name: string; filename?: string; contentType: string } {
  const disposition = Buffer.from(header.get("content-disposition") ?? "", "latin1").toString("utf8");
  const { name, filename } = parseFormDisposition(disposition);
  if (Buffer.byteLength(name) > FORM_LIMITS.fieldNameSize) {
    throw overLimit(`a field whose name is longer than ${FORM_LIMITS.fieldNameSize} bytes`);
  }
  const contentType = header.get("content-type") ?? "text/plain";
  if (filename !== undefined) return { name, filename, contentType };
  // A part without a file name is still a file if its type says so.
  return contentType.toLowerCase() === "application/octet-stream"
    ? { name, filename: "", contentType }
    : { name, contentType };
}

const overLimit = (limit: string) => new Problem("too-large", `The form has ${limit}.`);
