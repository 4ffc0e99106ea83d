/**
 * Form data (RFC 7578), read as a stream: no faster than the files inside are taken out of it, one after the other,
 * so that memory stays the same whatever their size and number.
 */
import { parse as parseType } from "content-type";
import { Problem } from "../../kernel/problem.ts";
import { parseFormDisposition } from "../store/disposition.ts";
import { readChunks } from "../store/parts.ts";
import { MultipartReader, type PartHeader } from "./multipart.ts";

export interface FilePart {
  /** The name of the form field. */
  field: string;
  /** What the client calls the file, as it was sent; may be empty. */
  filename: string;
  contentType: string;
  chunks: AsyncIterable<Uint8Array>;
}

interface FormHandlers {
  /** Must read all the chunks, or reject. */
  onFile: (part: FilePart) => Promise<void>;
  /** A field that is not a file. */
  onField: (name: string, value: string) => void;
}

/** A generous form; what is larger is not a form but an attack. Sizes are bytes. */
export const LIMITS = {
  parts: 200,
  files: 100,
  headers: 20,
  headerSize: 8 * 1024,
  fieldNameSize: 256,
  fieldSize: 64 * 1024,
};

/** Reads the whole form. Rejects with a `Problem` if it is broken, longer than a limit, or a handler refuses. */
export async function readForm(request: Request, { onFile, onField }: FormHandlers): Promise<void> {
  const reader = new MultipartReader(readChunks(request.body), boundaryOf(request), LIMITS);
  let parts = 0;
  let files = 0;
  try {
    for (let header = await reader.next(); header; header = await reader.next()) {
      if (++parts > LIMITS.parts) throw beyond(`more than ${LIMITS.parts} parts`);
      const { name, filename, contentType } = readHeader(header);
      if (filename === undefined) {
        onField(name, await readText(name, reader.content()));
      } else {
        if (++files > LIMITS.files) throw beyond(`more than ${LIMITS.files} files`);
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
    if (size > LIMITS.fieldSize) {
      throw beyond(`more than ${LIMITS.fieldSize} bytes in the field ${JSON.stringify(name)}`);
    }
    texts.push(chunk);
  }
  return Buffer.concat(texts).toString("utf8");
}

/** Of RFC 2046 §5.1.1. */
const BOUNDARY = /^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/;

function boundaryOf(request: Request): string {
  const { type, parameters } = parseType(request.headers.get("Content-Type") ?? "");
  if (type !== "multipart/form-data") {
    throw new Problem("unsupported-media", "Send the form as multipart/form-data.", {
      headers: { "Accept-Post": "multipart/form-data" },
    });
  }
  const { boundary = "" } = parameters;
  if (BOUNDARY.test(boundary)) return boundary;
  throw new Problem("malformed", "The Content-Type names no boundary, or one that cannot be.");
}

/** What the header of a part says, which is bytes of UTF-8. `filename` is undefined for what is no file. */
function readHeader(header: PartHeader): { name: string; filename?: string; contentType: string } {
  const disposition = Buffer.from(header.get("content-disposition") ?? "", "latin1").toString("utf8");
  const { name, filename } = parseFormDisposition(disposition);
  if (Buffer.byteLength(name) > LIMITS.fieldNameSize) {
    throw beyond(`a field whose name is longer than ${LIMITS.fieldNameSize} bytes`);
  }
  const contentType = header.get("content-type") ?? "text/plain";
  if (filename !== undefined) return { name, filename, contentType };
  // Without a name, still a file, by what it says of itself.
  return contentType.toLowerCase() === "application/octet-stream"
    ? { name, filename: "", contentType }
    : { name, contentType };
}

const beyond = (limit: string) => new Problem("too-large", `The form has ${limit}.`);
