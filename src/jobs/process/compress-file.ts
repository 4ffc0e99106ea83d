/** `compress_file`: a stored file as gzip or zlib data, in a file of its own, in constant memory and over several runs. */
import { z } from "zod";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { createRunBudget } from "../support/run-budget.ts";
import { fileId } from "../support/schemas.ts";
import { openSource } from "../support/sources.ts";
import { beginDeflate, type DeflateState, deflateBlocks, WRAPPERS } from "./gzip.ts";
import { describeFile, expiresIn } from "./made-file.ts";
import { type Piece, startedVersion, writeOutput } from "./output.ts";

/** DEFLATE takes up to 60 ns of CPU time for a byte, and a run has 30 s. */
const MAX_BYTES_PER_RUN = 256 * 1024 * 1024;

const OUTPUTS = {
  gzip: { suffix: "gz", contentType: "application/gzip" },
  deflate: { suffix: "zz", contentType: "application/zlib" },
};

const inputSchema = z.strictObject({
  fileId,
  format: z
    .enum(["gzip", "deflate"])
    .default("gzip")
    .meta({ description: "`deflate` is zlib's format, as HTTP understands it. Default: gzip." }),
  level: z
    .int()
    .min(1)
    .max(9)
    .default(6)
    .meta({ description: "1 is the fastest, 9 the smallest. Default: 6." }),
  expires_in: expiresIn,
});

export const compressFile = defineTask({
  name: "compress_file",
  input: inputSchema,
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, input) => compress(ctx, input),
});

type Input = z.output<typeof inputSchema>;

/** `batchBytes`: for tests. */
export async function compress(ctx: TaskContext, input: Input, batchBytes?: number) {
  const made = outputId(ctx, OUTPUTS[input.format].suffix);
  return allOrNothing(ctx, [made], async () => write(ctx, made, input, batchBytes));
}

async function write(
  ctx: TaskContext,
  made: string,
  { fileId: id, format, level, expires_in }: Input,
  batchBytes?: number,
) {
  const source = await openSource(ctx.signal, id, startedVersion(ctx));
  const { size, sha256, filename } = source.info;
  const { suffix, contentType } = OUTPUTS[format];
  const wrapper = WRAPPERS[format];
  async function* pieces(from?: DeflateState): AsyncGenerator<Piece<DeflateState>> {
    const begun = from ?? beginDeflate(wrapper.start);
    if (!from) yield { bytes: wrapper.header, cost: 0, state: () => begun };
    yield* deflateBlocks((offset) => source.chunks({ offset }), begun, { level, ...wrapper });
  }
  const spec = {
    id: made,
    filename: `${filename}.${suffix}`,
    contentType,
    source: id,
    task: ctx.taskId,
    expiresInSeconds: expires_in,
  };
  const file = await writeOutput(ctx, spec, {
    version: sha256,
    pieces,
    spend: createRunBudget(ctx, MAX_BYTES_PER_RUN),
    onProgress: ({ offset }) => ctx.progress(offset / size, `${offset} of ${size} bytes compressed`),
    batchBytes,
  });
  ctx.progress(1, "the file is compressed");
  return { ...describeFile(file), originalSize: size };
}
