/**
 * Reads a file back from R2, and fails if its bytes are not those that were uploaded.
 *
 * A long file is hashed in ranges. The state of the hash after each is the task's checkpoint, so that after a hand-over, a
 * deploy or a crash the task goes on where it was.
 */
import { createHash } from "node:crypto";
import { SHA256 } from "@stablelib/sha256";
import { z } from "zod";
import { defineTask, NonRetryableError, type TaskContext } from "../tasks/index.ts";
import { createRunBudget } from "./support/run-budget.ts";
import { openSource, type Source } from "./support/sources.ts";

/** The range after which the state is saved. It is a multiple of the block that sha256 works on. */
const RANGE_BYTES = 64 * 1024 * 1024;
/** How many bytes one run hashes: it takes about 10 s of CPU time for each gigabyte, and has 30 s. */
const MAX_BYTES_PER_RUN = 2 * 1024 ** 3;

export const verifyFile = defineTask({
  name: "verify_file",
  input: z.object({ fileId: z.string() }),
  timeoutMs: 6 * 3_600_000,
  run: async (ctx, { fileId }) => verify(ctx, fileId, RANGE_BYTES, MAX_BYTES_PER_RUN),
});

/** The hash of the first `offset` bytes of the version with this digest. */
interface Position {
  version: string;
  offset: number;
  state: number[];
}

/** `rangeBytes` must be a multiple of 64. */
export async function verify(ctx: TaskContext, fileId: string, rangeBytes: number, maxBytesPerRun: number) {
  const source = await openSource(ctx.signal, fileId);
  const { size, filename, sha256: expected } = source.info;
  const sha256 =
    size <= rangeBytes
      ? await hashWhole(source)
      : await hashInRanges(ctx, source, rangeBytes, createRunBudget(ctx, maxBytesPerRun));
  if (sha256 !== expected)
    throw new NonRetryableError(`the sha256 is ${sha256}; it was ${expected} when the file was stored`);
  ctx.log("info", "File verified.", { fileId, size });
  return { fileId, filename, size, sha256 };
}

/** The platform's own hash is ten times as fast as one whose state can be kept. */
async function hashWhole(source: Source): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of source.chunks()) hash.update(chunk);
  return hash.digest("hex");
}

async function hashInRanges(
  ctx: TaskContext,
  source: Source,
  length: number,
  spend: (bytes: number) => Promise<void>,
): Promise<string> {
  const { info } = source;
  const saved = ctx.checkpoint<Position>();
  // Another version of the file begins anew.
  const begun = saved?.version === info.sha256 ? saved : undefined;
  const hash = begun ? restore(begun) : new SHA256();
  for (let offset = begun?.offset ?? 0; offset < info.size; offset += length) {
    for await (const chunk of source.chunks({ offset, length })) hash.update(chunk);
    const end = offset + length;
    if (end >= info.size) break;
    const state = Array.from(hash.saveState().state);
    await ctx.saveCheckpoint({ version: info.sha256, offset: end, state } satisfies Position);
    ctx.progress(end / info.size);
    await spend(length);
  }
  return Buffer.from(hash.digest()).toString("hex");
}

/** A hash after whole blocks: nothing is left over between them. */
function restore({ state, offset }: Position): SHA256 {
  return new SHA256().restoreState({
    state: Int32Array.from(state),
    buffer: undefined,
    bufferLength: 0,
    bytesHashed: offset,
  });
}
