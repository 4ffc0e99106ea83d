/** tus-js-client against a running Sluice, and what is stored then. */
import { createHash, randomBytes } from "node:crypto";
import { basename } from "node:path";
import { Upload, type UploadOptions } from "tus-js-client";
import { expect } from "vitest";

declare module "tus-js-client" {
  interface UploadOptions {
    /** In its documentation, but not in its types. */
    protocol?: string;
  }
}

export const PROTOCOLS = ["tus-v1", "ietf-draft-03", "ietf-draft-05"];
export const MIB = 1024 * 1024;
/** More than two parts of R2, and not a multiple of anything. */
export const bytes = randomBytes(10.5 * MIB + 1);
/** More than one part. */
export const some = bytes.subarray(0, 5.5 * MIB + 1);
export const few = bytes.subarray(0, 300_001);

export const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");

/** The response to `GET` of the file, with the digest of the whole. */
export async function readFile(url: string, id: string) {
  const response = await fetch(`${url}/files/${id}`);
  const content = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, digest: sha256(content) };
}

export async function expectFile(url: string, id: string, content: Uint8Array): Promise<void> {
  const { status, digest } = await readFile(url, id);
  expect([status, digest]).toEqual([200, sha256(content)]);
}

export interface TusRun {
  upload: Upload;
  /** The highest offset that the server has acknowledged. */
  acknowledged: () => number;
  /** Resolves at success, rejects at an error. */
  ended: Promise<void>;
}

type Source = ConstructorParameters<typeof Upload>[0];

/** Starts an upload to the server at `url`, or to the endpoint or upload in the options. */
export function startUpload(url: string, source: Source, options: UploadOptions = {}): TusRun {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  let acknowledged = 0;
  const upload = new Upload(source, {
    endpoint: `${url}/uploads`,
    retryDelays: null,
    metadata: { filename: "röntgen 1.txt", filetype: "text/plain" },
    ...options,
    onChunkComplete: (size, accepted, total) => {
      acknowledged = accepted;
      options.onChunkComplete?.(size, accepted, total);
    },
    onError: reject,
    onSuccess: () => resolve(),
  });
  ended.catch(() => {});
  upload.start();
  return { upload, acknowledged: () => acknowledged, ended };
}

/** Uploads; returns the id of the file. */
export async function send(...args: Parameters<typeof startUpload>): Promise<string> {
  const { upload, ended } = startUpload(...args);
  await ended;
  return idOf(upload);
}

export const idOf = ({ url }: Upload) => basename(new URL(String(url)).pathname);

/** Starts an upload of `some` bytes, and calls `interrupt` when the server has some of it and more is on its way. */
export async function interruptUpload(
  url: string,
  interrupt: (run: TusRun) => Promise<void>,
  options: UploadOptions = {},
) {
  const hasSome = Promise.withResolvers<void>();
  const run = startUpload(url, some, {
    chunkSize: MIB,
    ...options,
    onChunkComplete: (_, accepted) => {
      if (accepted >= 3 * MIB) hasSome.resolve();
    },
  });
  await Promise.race([hasSome.promise, run.ended]);
  await interrupt(run);
  return { uploadUrl: String(run.upload.url), acknowledged: run.acknowledged() };
}
