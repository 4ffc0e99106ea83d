/**
 * `decompress_file`: gzip (also of several members), zlib or DEFLATE data, inflated into a file of its own, in constant
 * memory and over several runs. The limits are on what comes out: its bytes, and how many times as long it is as the source.
 */
import { z } from "zod";
import { defineTask, NonRetryableError, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { createRunBudget } from "../support/run-budget.ts";
import { fileId } from "../support/schemas.ts";
import { openSource } from "../support/sources.ts";
import { FORMATS, type InflatedState, inflateFile } from "./gzip.ts";
import { DamagedError } from "./huffman.ts";
import { describeFile, expiresIn, filenameSchema } from "./made-file.ts";
import { mediaTypeOf } from "./media-types.ts";
import { type Piece, startedVersion, writeOutput } from "./output.ts";

/** Inflating and hashing take up to 15 ns of CPU time for a byte, and a run has 30 s. */
const MAX_BYTES_PER_RUN = 1024 ** 3;
/** Output that is shorter than this is no bomb, whatever its ratio. */
const HARMLESS_BYTES = 10 * 1024 * 1024;
const DEFAULT_MAX_BYTES = 10_000_000_000;
const DEFAULT_MAX_RATIO = 250;

const inputSchema = z.strictObject({
  fileId,
  format: z
    .enum(FORMATS)
    .optional()
    .meta({ description: "Default: gzip or deflate (zlib's format), as the first bytes say." }),
  max_bytes: z
    .int()
    .min(1)
    .default(DEFAULT_MAX_BYTES)
    .meta({ description: "The task fails if there are more bytes. Default: 10 GB." }),
  max_ratio: z
    .number()
    .min(1)
    .max(1_100)
    .default(DEFAULT_MAX_RATIO)
    .meta({
      description:
        "The task fails if there are more than 10 MiB, and this many times as many as in the source. DEFLATE cannot do " +
        "more than 1,032 times. Default: 250.",
    }),
  filename: filenameSchema
    .optional()
    .meta({ description: "Default: the name of the source without `.gz` and the like." }),
  expires_in: expiresIn,
});

export const decompressFile = defineTask({
  name: "decompress_file",
  input: inputSchema,
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, input) => decompress(ctx, input),
});

type Input = z.output<typeof inputSchema>;

/** `batchBytes`: for tests. */
export async function decompress(ctx: TaskContext, input: Input, batchBytes?: number) {
  const made = outputId(ctx, "out");
  return allOrNothing(ctx, [made], async () => write(ctx, made, input, batchBytes));
}

async function write(
  ctx: TaskContext,
  made: string,
  { fileId: id, format, max_bytes, max_ratio, filename, expires_in }: Input,
  batchBytes?: number,
) {
  const source = await openSource(ctx.signal, id, startedVersion(ctx));
  const { size, sha256 } = source.info;
  const refuse = (why: string) => new NonRetryableError(`the file ${id} was not decompressed: ${why}`);
  async function* pieces(from?: State): AsyncGenerator<Piece<State>> {
    let total = from?.total ?? 0;
    try {
      const read = (offset: number) => source.chunks({ offset });
      for await (const { bytes, cost, state } of inflateFile(read, format, from)) {
        total += bytes.length;
        if (total > max_bytes) throw refuse(`it has more than ${max_bytes} bytes (max_bytes)`);
        if (total > HARMLESS_BYTES && total > size * max_ratio)
          throw refuse(`it becomes more than ${max_ratio} times as long (max_ratio)`);
        const reached = total;
        yield { bytes, cost, state: () => ({ ...state(), total: reached }) };
      }
    } catch (error) {
      throw error instanceof DamagedError ? refuse(error.message) : error;
    }
  }
  const name = filename ?? plainName(source.info.filename);
  const spec = {
    id: made,
    filename: name,
    contentType: mediaTypeOf(name),
    source: id,
    task: ctx.taskId,
    expiresInSeconds: expires_in,
  };
  const file = await writeOutput(ctx, spec, {
    version: sha256,
    pieces,
    spend: createRunBudget(ctx, MAX_BYTES_PER_RUN),
    onProgress: ({ offset, total }) => ctx.progress(offset / size, `${total} bytes decompressed`),
    batchBytes,
  });
  ctx.progress(1, "the file is decompressed");
  return { ...describeFile(file), compressedSize: size };
}

interface State extends InflatedState {
  /** Bytes of output. */
  total: number;
}

/** `data.csv.gz` is `data.csv`, and `backup.tgz` is `backup.tar`. */
function plainName(filename: string): string {
  if (/.\.t[ga]z$/i.test(filename)) return `${filename.slice(0, -3)}tar`;
  return filename.replace(/(?<=.)\.(?:gz|gzip|zz|zlib|z|deflate)$/i, "");
}
