/**
 * `hash_file`: the digests of a stored file, all in one pass over its bytes.
 *
 * A file of up to 2 GiB is hashed by the platform, in one run. A longer one is hashed in JavaScript, whose states are kept
 * after each range, so that after a hand-over, a deploy or a crash the task goes on where it was.
 */
import { z } from "zod";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { createRunBudget } from "../support/run-budget.ts";
import { fileId } from "../support/schemas.ts";
import { openSource, type Source } from "../support/sources.ts";
import {
  ALGORITHMS,
  type Algorithm,
  type DigestStates,
  type DigestsInHex,
  KeptDigests,
  PlatformDigests,
} from "./digests.ts";

/** All five algorithms of the platform take about 9 s of CPU time for each gigabyte, and a run has 30 s. */
const MAX_BYTES_AT_ONCE = 2 * 1024 ** 3;
/** A multiple of the longest block. */
const RANGE_BYTES = 32 * 1024 * 1024;
/** What the hashes in JavaScript take for a byte, in nanoseconds of CPU time, and how much of it one run uses. */
const COST_NS: Record<Algorithm, number> = { md5: 30, "sha-1": 40, "sha-256": 20, "sha-512": 50, crc32: 1 };
const MAX_RUN_NS = 12e9;

const inputSchema = z.strictObject({
  fileId,
  algorithms: z
    .array(z.enum(ALGORITHMS))
    .min(1)
    .refine((names) => new Set(names).size === names.length, "an algorithm is there twice")
    .default([...ALGORITHMS])
    .meta({ description: "Default: all of them.", example: ["md5", "sha-256"] }),
});

export const hashFile = defineTask({
  name: "hash_file",
  input: inputSchema,
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, input) => hash(ctx, input),
});

interface Checkpoint {
  offset: number;
  /** Of the version that is hashed. */
  sha256: string;
  states: DigestStates;
}

/** `limits`: for tests, which have no gigabytes. */
export async function hash(
  ctx: TaskContext,
  { fileId: id, algorithms }: z.output<typeof inputSchema>,
  { atOnce = MAX_BYTES_AT_ONCE, range = RANGE_BYTES } = {},
) {
  const from = ctx.checkpoint<Checkpoint>();
  const source = await openSource(ctx.signal, id, from && { sha256: from.sha256 });
  const { filename, size } = source.info;
  const digests =
    size <= atOnce
      ? await hashAtOnce(ctx, source, algorithms)
      : await hashInRanges(ctx, source, algorithms, range, from);
  return { fileId: id, filename, size, digests };
}

async function hashAtOnce(ctx: TaskContext, source: Source, algorithms: Algorithm[]): Promise<DigestsInHex> {
  const digests = new PlatformDigests(algorithms);
  let done = 0;
  for await (const chunk of source.chunks()) {
    digests.update(chunk);
    done += chunk.length;
    ctx.progress(done / source.info.size, `${done} of ${source.info.size} bytes hashed`);
  }
  return digests.digest();
}

async function hashInRanges(
  ctx: TaskContext,
  source: Source,
  algorithms: Algorithm[],
  rangeBytes: number,
  from: Checkpoint | undefined,
): Promise<DigestsInHex> {
  const { size, sha256 } = source.info;
  const digests = new KeptDigests(algorithms, from?.states, from?.offset);
  const costNs = algorithms.reduce((sum, name) => sum + COST_NS[name], 0);
  const spend = createRunBudget(ctx, MAX_RUN_NS);
  let offset = from?.offset ?? 0;
  for (; size - offset > rangeBytes; offset += rangeBytes) {
    await hashBlocks(digests, source, { offset, length: rangeBytes });
    const saved: Checkpoint = { offset: offset + rangeBytes, sha256, states: digests.save() };
    await ctx.saveCheckpoint(saved);
    ctx.progress(saved.offset / size, `${saved.offset} of ${size} bytes hashed`);
    await spend(rangeBytes * costNs);
  }
  return digests.digest(await hashBlocks(digests, source, { offset, length: size - offset }));
}

/** Hashes the whole blocks of a range, and returns what is left over. */
async function hashBlocks(
  digests: KeptDigests,
  source: Source,
  range: { offset: number; length: number },
): Promise<Uint8Array> {
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of source.chunks(range)) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = bytes.length - (bytes.length % KeptDigests.BLOCK_BYTES);
    digests.update(bytes.subarray(0, whole));
    rest = Uint8Array.from(bytes.subarray(whole));
  }
  return rest;
}
