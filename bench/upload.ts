/**
 * How fast a form uploads a large file, and how much memory that costs the server.
 *
 * The form repeats one block while it is sent, so the bench holds no file. Each response must name the file's size
 * and digest: a server that loses bytes would be fast.
 */
import { createHash, randomBytes } from "node:crypto";
import { type IncomingMessage, request } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import type { Contender } from "./contender.ts";
import { readMemory, resetPeak } from "./support/memory.ts";
import { type Figure, median } from "./table.ts";

const MIB = 1024 * 1024;
const SIZE = 256 * MIB;
const ROUNDS = 3;

const BLOCK = randomBytes(64 * 1024);
const BOUNDARY = "sluice-bench-2f1e8c07a94b";
const HEAD = Buffer.from(
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n` +
    "Content-Type: application/octet-stream\r\n\r\n",
);
const TAIL = Buffer.from(`\r\n--${BOUNDARY}--\r\n`);

/** `/upload-file`, one file at a time: the median speed, and the peak memory over all files. */
export async function measureUpload({ uploads: { url, pid } }: Contender): Promise<Figure[]> {
  await uploadForm(url, MIB); // loads the code
  const before = pid === undefined ? undefined : readMemory(pid);
  if (pid !== undefined) resetPeak(pid);
  const speeds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) speeds.push(SIZE / 1e6 / (await uploadForm(url, SIZE)));
  const after = pid === undefined ? undefined : readMemory(pid);
  const what = `/upload-file, ${ROUNDS} × ${SIZE / MIB} MiB`;
  const figures = [{ what: `${what}: MB/s`, value: median(speeds) }];
  if (before && after) {
    figures.push({ what: `${what}: peak memory, MiB`, value: after.peakBytes / MIB });
    figures.push({ what: `${what}: growth to it, MiB`, value: (after.peakBytes - before.nowBytes) / MIB });
  }
  return figures;
}

/** Uploads a file of `size` bytes in a form. Returns the time until the last byte of the response, in seconds. */
export async function uploadForm(url: string, size: number): Promise<number> {
  const expected = { size, sha256: digestOf(size) };
  const startMs = performance.now();
  const sending = request(`${url}/upload-file`, {
    method: "POST",
    headers: {
      "Content-Type": `multipart/form-data; boundary=${BOUNDARY}`,
      "Content-Length": HEAD.length + size + TAIL.length,
    },
  });
  const responded = Promise.withResolvers<IncomingMessage>();
  sending.once("response", responded.resolve).once("error", responded.reject);
  const [response] = await Promise.all([responded.promise, pipeline(Readable.from(makeForm(size)), sending)]);
  const body = await text(response);
  const tookMs = performance.now() - startMs;
  if (!body.includes(`"size":${size}`) || !body.includes(expected.sha256)) {
    throw new Error(`${url}/upload-file did not store the file as it was sent: ${body}`);
  }
  return tookMs / 1000;
}

function* makeForm(size: number): Generator<Buffer> {
  yield HEAD;
  yield* makeFile(size);
  yield TAIL;
}

/** A file of `size` bytes: one block, repeated. */
export function* makeFile(size: number): Generator<Buffer> {
  for (let sent = 0; sent < size; sent += BLOCK.length) yield BLOCK.subarray(0, size - sent);
}

const digests = new Map<number, string>();

/** The sha256 of that file, in hexadecimal. */
export function digestOf(size: number): string {
  const computed = digests.get(size);
  if (computed !== undefined) return computed;
  const hash = createHash("sha256");
  for (const block of makeFile(size)) hash.update(block);
  const digest = hash.digest("hex");
  digests.set(size, digest);
  return digest;
}
