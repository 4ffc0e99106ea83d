/**
 * Reads a file back from R2, and fails if its bytes are not those that were uploaded.
 *
 * A long file is hashed in ranges. The state of the hash after each is recorded as a step, so that after a hand-over, a
 * deploy or a crash the task goes on where it was.
 */
import { env } from "cloudflare:workers";
import { SHA256 } from "@stablelib/sha256";
import { z } from "zod";
import { openFile } from "../files/index.ts";
import { defineTask, NonRetryableError, type TaskContext } from "../tasks/index.ts";

/** The range that is hashed in one step. It is a multiple of the block that sha256 works on. */
const RANGE_BYTES = 64 * 1024 * 1024;
const BLOCK_BYTES = 64;
/** A task may record 1,000 steps. */
const MAX_RANGES = 800;
/** How many bytes one run hashes: it takes about 10 s of CPU time for each gigabyte, and has 30 s. */
const MAX_BYTES_PER_RUN = 2 * 1024 ** 3;
/** A sleep of this length ends the run. */
const PAUSE_MS = 10_001;

export const verifyFile = defineTask({
  name: "verify_file",
  input: z.object({ fileId: z.string() }),
  timeoutMs: 6 * 3_600_000,
  run: async (ctx, { fileId }) => verify(ctx, fileId, RANGE_BYTES),
});

/** `rangeBytes` must be a multiple of 64. */
export async function verify(ctx: TaskContext, fileId: string, rangeBytes: number) {
  const { info, body } = await open(fileId, { suffix: 1 });
  await new Response(body).bytes();
  const isShort = info.size <= rangeBytes;
  const sha256 = isShort ? await hashWhole(ctx, fileId) : await hashInRanges(ctx, info, rangeBytes);
  const { size, filename, sha256: expected } = info;
  if (sha256 !== expected)
    throw new NonRetryableError(`the sha256 is ${sha256}; it was ${expected} when the file was stored`);
  ctx.log("info", "File verified.", { fileId, size });
  return { fileId, filename, size, sha256 };
}

/** The platform's own hash is ten times as fast as one whose state can be kept. */
async function hashWhole({ signal }: TaskContext, fileId: string): Promise<string> {
  const { body } = await open(fileId);
  const digest = new crypto.DigestStream("SHA-256");
  await body.pipeTo(digest, { signal });
  return toHex(new Uint8Array(await digest.digest));
}

async function hashInRanges(ctx: TaskContext, file: Info, minRangeBytes: number): Promise<string> {
  const length = Math.max(minRangeBytes, Math.ceil(file.size / MAX_RANGES / BLOCK_BYTES) * BLOCK_BYTES);
  const lastRange = Math.ceil(file.size / length) - 1;
  let hash = new SHA256();
  let hashedBytes = 0;
  for (let range = 0; range < lastRange; range++) {
    const offset = range * length;
    // Another version of the file has other steps.
    const state = await ctx.step(`${file.sha256.slice(0, 16)} ${offset}+${length}`, async () => {
      hashedBytes += length;
      await update(hash, ctx.signal, file, { offset, length });
      return Array.from(hash.saveState().state);
    });
    hash = restore(state, offset + length);
    // A length of its own: otherwise it would count as the sleep of an earlier run, which is over.
    if (hashedBytes >= MAX_BYTES_PER_RUN) await ctx.sleep(PAUSE_MS + range);
  }
  await update(hash, ctx.signal, file, { offset: lastRange * length, length });
  return toHex(hash.digest());
}

/** A hash after whole blocks: nothing is left over between them. */
function restore(state: number[], bytesHashed: number): SHA256 {
  return new SHA256().restoreState({
    state: Int32Array.from(state),
    buffer: undefined,
    bufferLength: 0,
    bytesHashed,
  });
}

async function update(hash: SHA256, signal: AbortSignal, file: Info, range: ByteRange): Promise<void> {
  const { info, body } = await open(file.id, range);
  if (info.sha256 !== file.sha256) {
    await body.cancel();
    throw new Error(`the file ${file.id} was replaced while it was verified`);
  }
  for await (const chunk of body) {
    signal.throwIfAborted();
    hash.update(chunk);
  }
}

async function open(fileId: string, range?: { suffix: number } | ByteRange) {
  const file = await openFile(env, fileId, range === undefined ? {} : { range });
  if (file) return file;
  throw new NonRetryableError(`there is no file ${fileId}`);
}

type Info = Awaited<ReturnType<typeof open>>["info"];
type ByteRange = { offset: number; length: number };

const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
