/**
 * Form data (RFC 7578), read as a stream.
 *
 * The body is pushed into the parser no faster than the file inside is taken out of it, so that memory stays the
 * same whatever the size. Each file is handed to `onFile` while it arrives; `readForm` settles when the whole form
 * is read and every `onFile` has settled, and rejects with a `Problem` if the form is broken or `onFile` refuses.
 */
import { pipeline } from "node:stream/promises";
import { Busboy, type BusboyInstance } from "@fastify/busboy";
import { format, parse } from "content-type";
import { Problem } from "../kernel/problem.ts";

export interface FilePart {
  /** The name of the form field. */
  field: string;
  /** What the client calls the file; may be empty. */
  filename: string;
  contentType: string;
  chunks: AsyncIterable<Uint8Array>;
}

interface FormHandlers {
  /** Must read all the chunks, or reject. */
  onFile: (part: FilePart) => Promise<void>;
  /** A field that is not a file. */
  onField: (name: string) => void;
}

/** A generous form; what is larger is not a form but an attack. */
const LIMITS = {
  fieldNameSize: 256,
  fieldSize: 64 * 1024,
  fields: 100,
  files: 100,
  parts: 200,
  headerSize: 16 * 1024,
  headerPairs: 20,
};

export async function readForm(request: Request, { onFile, onField }: FormHandlers): Promise<void> {
  const parser = createParser(request);
  const handled: Promise<void>[] = [];
  const files: { destroy(): unknown }[] = [];
  let refusal: unknown;
  const refuse = (reason: unknown) => {
    refusal ??= reason;
    parser.destroy();
  };
  parser.on("file", (field, file, filename, _encoding, contentType) => {
    files.push(file);
    handled.push(
      onFile({ field, filename: filename ?? "", contentType, chunks: readChunks(file) }).catch(refuse),
    );
  });
  parser.on("field", (name) => {
    try {
      onField(name);
    } catch (reason) {
      refuse(reason);
    }
  });
  for (const limit of ["partsLimit", "filesLimit", "fieldsLimit"] as const) {
    parser.on(limit, () => refuse(new Problem("invalid", "The form has too many parts.")));
  }

  const broken = await pipeline(request.body ?? [], parser).then(() => undefined, malformed);
  if (broken) for (const file of files) file.destroy();
  await Promise.all(handled);
  if (refusal ?? broken) throw refusal ?? broken;
}

/** The file's bytes; where the form breaks off in the middle of them, that is what reading them throws. */
async function* readChunks(file: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* file;
  } catch (error) {
    throw malformed(error);
  }
}

/** Of RFC 2046 §5.1.1. A parser that is asked for any other boundary, an empty one say, may never end. */
const BOUNDARY = /^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/;

function createParser(request: Request): BusboyInstance {
  const { type, parameters } = parse(request.headers.get("Content-Type") ?? "");
  if (type !== "multipart/form-data") {
    throw new Problem("unsupported-media", "Send the form as multipart/form-data.", {
      headers: { "Accept-Post": "multipart/form-data" },
    });
  }
  const { boundary = "" } = parameters;
  if (!BOUNDARY.test(boundary))
    throw new Problem("malformed", "The Content-Type names no boundary, or one that cannot be.");
  // Written anew, so that the parser reads in it just what was checked here.
  return new Busboy({
    headers: { "content-type": format({ type, parameters: { boundary } }) },
    limits: LIMITS,
  });
}

function malformed(cause: unknown): Problem {
  return new Problem("malformed", "The form data is broken off or malformed.", { cause });
}
