/** Analyses bytes in memory, in chunks of any size, and goes on from checkpoints. */
import { z } from "zod";
import {
  type AnalysisHooks,
  analyze,
  type Checkpoint,
  readCheckpoint,
} from "../../src/jobs/data/analysis.ts";
import { formatInput, planAnalysis } from "../../src/jobs/data/format.ts";
import { type ColumnResult, describeColumns, summarize } from "../../src/jobs/data/result.ts";
import type { ByteSource } from "../../src/jobs/data/text-bytes.ts";

export const toBytes = (data: string | Uint8Array): Uint8Array =>
  typeof data === "string" ? new TextEncoder().encode(data) : data;

/** A file in memory. */
export function memorySource(data: string | Uint8Array, chunkBytes = 7): ByteSource {
  const bytes = toBytes(data);
  async function* chunks(
    { offset, length = bytes.length }: { offset: number; length?: number } = { offset: 0 },
  ) {
    const end = Math.min(bytes.length, offset + length);
    for (let at = offset; at < end; at += chunkBytes) yield bytes.slice(at, Math.min(end, at + chunkBytes));
  }
  return {
    info: { size: bytes.length },
    chunks,
    async *views(range) {
      for await (const chunk of chunks(range)) {
        yield chunk;
        // Whoever keeps it sees that it was only lent.
        chunk.fill(0x21);
      }
    },
  };
}

interface Options {
  input?: z.input<ReturnType<typeof inputSchema>>;
  chunkBytes?: number;
  checkpointBytes?: number;
  from?: Checkpoint | undefined;
  save?: AnalysisHooks["save"];
}

const inputSchema = () => z.object(formatInput);

/** The result of `analyze_file`, with every column. */
export async function analyzeBytes(data: string | Uint8Array, options: Options = {}) {
  const { input = {}, chunkBytes = 1000, checkpointBytes = 2 ** 40, from, save = async () => {} } = options;
  const source = memorySource(data, chunkBytes);
  const plan = await planAnalysis(source, inputSchema().parse(input));
  const analysis = await analyze(source, plan, from, { save, progress: () => {}, checkpointBytes });
  const columns: ColumnResult[] = Array.from(describeColumns(analysis), ({ result }) => result);
  return { ...summarize(plan, analysis), columns };
}

/** Keeps each checkpoint as the ledger does: as JSON. */
export function checkpointKeeper() {
  const kept: Checkpoint[] = [];
  const save = async (checkpoint: Checkpoint) => {
    kept.push(readCheckpoint(JSON.parse(JSON.stringify(checkpoint))));
  };
  return { kept, save };
}
