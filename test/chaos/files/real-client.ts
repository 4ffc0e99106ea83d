/**
 * Uploads with tus-js-client, as an application makes them: the client resumes by itself, or it stops with an error
 * and a new instance continues from the URL that the previous one stored.
 */
import { setTimeout as sleep } from "node:timers/promises";
import * as tus from "tus-js-client";
import type { Random } from "../random.ts";
import type { Source } from "./source.ts";
import { uploadIdOf, type World } from "./world.ts";

const MIB = 1024 * 1024;
const CHUNK = [100_000, 6 * MIB] as const;
const RETRY_MS = 80;
const RETRIES = 300;
/** How many have an endpoint with a slash at the end. */
const SLASH_SHARE = 0.3;

const WAYS = {
  plain: () => ({}),
  chunks: (random: Random) => ({ chunkSize: random.between(...CHUNK) }),
  parallel: (random: Random) => ({ parallelUploads: random.between(2, 4) }),
  deferred: (random: Random) => ({ uploadLengthDeferred: true, chunkSize: random.between(...CHUNK) }),
  "at creation": () => ({ uploadDataDuringCreation: true }),
  "draft 03": (random: Random) => ({ protocol: "ietf-draft-03", chunkSize: random.between(...CHUNK) }),
  "draft 05": () => ({ protocol: "ietf-draft-05" }),
  "draft 05, chunks": (random: Random) => ({
    protocol: "ietf-draft-05",
    chunkSize: random.between(...CHUNK),
  }),
} satisfies Record<string, (random: Random) => object>;

export type Way = keyof typeof WAYS;

/** Returns the id of the upload when the client reports success. */
export async function uploadByRealClient(
  source: Source,
  way: Way,
  world: World,
  random: Random,
): Promise<string> {
  const storage = new Storage();
  const retryDelays = random.chance(0.5) ? Array.from({ length: RETRIES }, () => RETRY_MS) : null;
  const slash = random.chance(SLASH_SHARE) ? "/" : "";
  const endpoint = `${world.url()}/uploads${slash}`;
  const common = commonOptions(source, world);
  const options = { ...WAYS[way](random), ...common, endpoint, urlStorage: storage, retryDelays };
  for (let tries = 1; ; tries++) {
    const [previous] = await storage.findAllUploads();
    try {
      return await attempt(source.bytes, options, previous);
    } catch (error) {
      if (tries === RETRIES) throw error;
      await sleep(RETRY_MS);
    }
  }
}

async function attempt(
  bytes: Buffer,
  options: tus.UploadOptions,
  previous: tus.PreviousUpload | undefined,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const upload = new tus.Upload(bytes, { ...options, onSuccess: () => resolve(), onError: reject });
  if (previous) upload.resumeFromPreviousUpload(previous);
  upload.start();
  await promise;
  const id = uploadIdOf(upload.url ?? "");
  if (id === undefined) throw new Error(`A successful upload has the URL ${upload.url}.`);
  return id;
}

function commonOptions({ name, bytes }: Source, world: World): tus.UploadOptions {
  const beganAtMs = new WeakMap<tus.HttpRequest, number>();
  return {
    metadata: { filename: name },
    fingerprint: async () => name,
    onBeforeRequest(request) {
      beganAtMs.set(request, performance.now());
      if (request.getHeader("Upload-Concat")?.startsWith("final")) world.announce("concatenating");
    },
    onAfterResponse(request, response) {
      const endedAtMs = performance.now();
      world.noteResponse({
        method: request.getMethod(),
        url: request.getURL(),
        status: response.getStatus(),
        header: (header) => response.getHeader(header),
        beganAtMs: beganAtMs.get(request) ?? endedAtMs,
        endedAtMs,
      });
    },
    onProgress(sent) {
      if (sent === bytes.length) world.announce("completing");
    },
  };
}

/** Where tus-js-client stores the URL of an upload, like a browser's local storage. */
class Storage implements tus.UrlStorage {
  readonly #uploads = new Map<string, tus.PreviousUpload>();

  async findAllUploads(): Promise<tus.PreviousUpload[]> {
    return [...this.#uploads].map(([urlStorageKey, upload]) => ({ ...upload, urlStorageKey }));
  }

  async findUploadsByFingerprint(): Promise<tus.PreviousUpload[]> {
    return this.findAllUploads();
  }

  async removeUpload(urlStorageKey: string): Promise<void> {
    this.#uploads.delete(urlStorageKey);
  }

  async addUpload(fingerprint: string, upload: tus.PreviousUpload): Promise<string> {
    this.#uploads.set(fingerprint, upload);
    return fingerprint;
  }
}
