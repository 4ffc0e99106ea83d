/**
 * Reads form data (RFC 7578) as a stream, only as fast as the files in it are consumed, one after the other. So
 * memory use does not depend on their size or number.
 *
 * What a part says about itself counts: its transfer encoding is decoded, its text is read in its charset, its digests
 * are checked. What cannot be heeded is rejected, so that nothing is stored that is not what was sent.
 */
import { parse as parseType } from "content-type";
import { Problem } from "../../kernel/problem.ts";
import { readChunks } from "../store/body.ts";
import { readContentDigests, verifyDigests } from "../store/digests.ts";
import { charsetOf } from "../store/media-type.ts";
import { rejectContentCoding, rejectTransferEncoding } from "../store/upload-headers.ts";
import { parseFormDisposition } from "./form-disposition.ts";
import { FormText, isText } from "./form-text.ts";
import { MultipartReader, type PartHeader } from "./multipart.ts";
import { decodeTransfer } from "./transfer-encoding.ts";
import { rejectPieces } from "./whole.ts";

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
  /** Called with the name of a field that is not a file, before it is read. */
  onField: (name: string) => void;
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

/**
 * Reads the whole form and returns its fields. Rejects with a `Problem` if it is malformed, exceeds a limit, does not
 * have the digest that the request says, or a handler rejects.
 */
export async function readForm(
  request: Request,
  { onFile, onField }: FormHandlers,
): Promise<{ name: string; value: string }[]> {
  const boundary = readBoundary(request);
  rejectContentCoding(request.headers, "form");
  rejectTransferEncoding(request.headers);
  rejectPieces(request.headers);
  const expected = readContentDigests(request.headers);
  const body = readChunks(request.body);
  const reader = new MultipartReader(
    expected.length > 0 ? verifyDigests(body, expected) : body,
    boundary,
    FORM_LIMITS,
  );
  const text = new FormText(charsetOf(request.headers.get("Content-Type") ?? ""));
  let parts = 0;
  let files = 0;
  try {
    for (let header = await reader.next(); header; header = await reader.next()) {
      if (++parts > FORM_LIMITS.parts) throw overLimit(`more than ${FORM_LIMITS.parts} parts`);
      const { name, filename, contentType } = readHeader(header, text);
      const chunks = readContent(header, reader);
      if (filename === undefined) {
        onField(name);
        text.addField({ name, bytes: await readField(name, chunks), type: contentType });
      } else {
        if (++files > FORM_LIMITS.files) throw overLimit(`more than ${FORM_LIMITS.files} files`);
        await onFile({ field: name, filename, contentType: contentType ?? "text/plain", chunks });
      }
    }
    if (expected.length > 0 && !reader.hasEnded) {
      throw new Problem("malformed", "There is too much data after the form to check its digest.");
    }
    return text.fields();
  } finally {
    await reader.close();
  }
}

/** The bytes of a part as they were before they were put into the form. */
function readContent(header: PartHeader, reader: MultipartReader): AsyncIterable<Uint8Array> {
  rejectContentCoding(header);
  rejectPieces(header);
  const expected = readContentDigests(header);
  const content = decodeTransfer(header.get("Content-Transfer-Encoding"), reader.content());
  return expected.length > 0 ? verifyDigests(content, expected) : content;
}

async function readField(name: string, chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const read: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > FORM_LIMITS.fieldSize) {
      throw overLimit(`more than ${FORM_LIMITS.fieldSize} bytes in the field ${JSON.stringify(name)}`);
    }
    read.push(chunk.slice());
  }
  return Buffer.concat(read);
}

/**
 * RFC 2046 §5.1.1 allows fewer characters; clients use others too (`*****`), which do no harm. Only what could be read
 * in two ways is rejected: quotes, controls, and a space at the end.
 */
const BOUNDARY = /^[\x20\x21\x23-\x7e]{0,69}[\x21\x23-\x7e]$/;

function readBoundary(request: Request): string {
  const header = request.headers.get("Content-Type") ?? "";
  const { type, parameters } = parseType(header);
  if (type !== "multipart/form-data") {
    throw new Problem("unsupported-media", "Send the form as multipart/form-data.", {
      headers: { "Accept-Post": "multipart/form-data" },
    });
  }
  const { boundary = "" } = parameters;
  const unquoted = header.replaceAll(/"(?:[^"\\]|\\[^])*"?/g, '""');
  const count = unquoted.match(/;[\t ]*boundary[\t ]*=/gi)?.length ?? 0;
  if (BOUNDARY.test(boundary) && count === 1) return boundary;
  throw new Problem(
    "malformed",
    "The Content-Type needs one boundary, of 1 to 70 characters of ASCII, without quotes and without a space at its end.",
  );
}

/** What a part is. `filename` is undefined for a field that is not a file. */
function readHeader(
  header: PartHeader,
  text: FormText,
): { name: string; filename?: string; contentType: string | null } {
  const disposition = text.readHeader(Buffer.from(header.get("Content-Disposition") ?? "", "latin1"));
  const { name, filename } = parseFormDisposition(disposition);
  if (Buffer.byteLength(name) > FORM_LIMITS.fieldNameSize) {
    throw overLimit(`a field whose name is longer than ${FORM_LIMITS.fieldNameSize} bytes`);
  }
  const contentType = header.get("Content-Type") || null;
  if (filename !== undefined) return { name, filename, contentType };
  // A part without a file name is still a file if its type says that it is not text.
  return isText(contentType) ? { name, contentType } : { name, filename: "", contentType };
}

const overLimit = (limit: string) => new Problem("too-large", `The form has ${limit}.`);
