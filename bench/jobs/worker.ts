/**
 * Parsers alone, in the same runtime: PUT stores a file in R2, and POST /udsv or /papaparse reads it and parses it into
 * rows, which are counted and dropped.
 */
import Papa from "papaparse";
import { inferSchema, initParser } from "udsv";

const CHUNK_BYTES = 256 * 1024;
/** As `analyze_file` reads. */
const READ_BYTES = 128 * 1024;

/** Strings, as both take them: decoding is a part of the work. */
async function* decodedChunks(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const reader = body.getReader({ mode: "byob" });
  for (;;) {
    const { done, value } = await reader.readAtLeast(CHUNK_BYTES, new Uint8Array(CHUNK_BYTES));
    if (value) yield decoder.decode(value, { stream: true });
    if (done) return;
  }
}

async function parseWithUdsv(body: ReadableStream<Uint8Array>): Promise<number> {
  let rows = 0;
  let parser: ReturnType<typeof initParser> | undefined;
  for await (const chunk of decodedChunks(body)) {
    parser ??= initParser(inferSchema(chunk));
    parser.chunk<string[]>(chunk, parser.stringArrs, (parsed) => {
      rows += parsed.length;
    });
  }
  parser?.end();
  return rows;
}

/** Its input is one text: it has no parser to which chunks can be pushed. */
async function parseWithPapaparse(body: ReadableStream<Uint8Array>): Promise<number> {
  let rows = 0;
  Papa.parse(await new Response(body).text(), {
    step: () => {
      rows++;
    },
  });
  return rows;
}

/** Reads all of it, and drops it. */
async function drain(body: ReadableStream<Uint8Array>): Promise<number> {
  const reader = body.getReader({ mode: "byob" });
  let buffer = new Uint8Array(READ_BYTES);
  for (let bytes = 0; ; ) {
    const { done, value } = await reader.readAtLeast(READ_BYTES, buffer);
    bytes += value?.length ?? 0;
    if (done || !value) return bytes;
    buffer = new Uint8Array(value.buffer);
  }
}

const WORK = new Map([
  ["/udsv", parseWithUdsv],
  ["/papaparse", parseWithPapaparse],
  ["/read", drain],
]);

export default {
  async fetch(request: Request, { FILES }: { FILES: R2Bucket }): Promise<Response> {
    if (request.method === "PUT") return new Response(String((await FILES.put("file", request.body))?.size));
    const file = await FILES.get("file");
    const work = WORK.get(new URL(request.url).pathname);
    return new Response(file && work ? String(await work(file.body)) : "");
  },
};
