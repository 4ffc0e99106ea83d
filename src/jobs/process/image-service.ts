/**
 * Calls of Cloudflare Images, with their failures told apart: those of the image or of the request, which another try
 * would have as well, and those that may pass.
 *
 * The service names most of its failures by a code. Where it does not, as in the local runtime, it is asked once more, and
 * for an image that is surely sound: if it takes that one and again not this one, the fault is the image's.
 */
import type { Source } from "../support/sources.ts";

/** Faults of the image or of the request. */
const FINAL_CODES = ["9401", "9402", "9412", "9413", "9516", "9520"];

/** What the runtime names a response that has no code of the service; so does every failure in the local runtime. */
const NO_CODE = "9523";

/** A GIF of one pixel. */
const SOUND_IMAGE = Buffer.from("R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==", "base64");

/**
 * What `call` makes of a source. Throws what `refuse` makes of the reason why it can never succeed; any other error may pass.
 */
export async function callImages<T>(
  images: ImagesBinding,
  source: Pick<Source, "chunks">,
  refuse: (why: string) => Error,
  call: (stream: ReadableStream<Uint8Array>) => Promise<T>,
): Promise<T> {
  const first = await callOnce(source, call);
  if ("result" in first) return first.result;
  if (first.code !== undefined) throw named(first, refuse);
  await images.info(streamOfBytes(SOUND_IMAGE)).catch((cause: unknown) => {
    throw new Error("Cloudflare Images does not work at the moment", { cause });
  });
  const second = await callOnce(source, call);
  if ("result" in second) return second.result;
  if (second.code !== undefined) throw named(second, refuse);
  throw refuse("it is damaged, or of a kind that Cloudflare Images does not read");
}

interface Failure {
  /** Undefined: the service has not named it. */
  code: string | undefined;
  message: string;
}

function named({ code = "", message }: Failure, refuse: (why: string) => Error): Error {
  const why = `Cloudflare Images says: ${message}`;
  return FINAL_CODES.includes(code) ? refuse(why) : new Error(why);
}

/** Throws only what reading the source has thrown: that is no failure of the service. */
async function callOnce<T>(
  source: Pick<Source, "chunks">,
  call: (stream: ReadableStream<Uint8Array>) => Promise<T>,
): Promise<{ result: T } | Failure> {
  const reading: { failure?: { error: unknown } } = {};
  try {
    return {
      result: await call(
        streamOf(source, (error) => {
          reading.failure = { error };
        }),
      ),
    };
  } catch (error) {
    if (reading.failure) throw reading.failure.error;
    const message = (error instanceof Error ? error.message : String(error)).slice(0, 300);
    const given = error instanceof Error && "code" in error ? String(error.code) : undefined;
    const code = given ?? /\b9[45]\d\d\b/.exec(message)?.[0];
    return { code: code === NO_CODE ? undefined : code, message };
  }
}

function streamOf(
  source: Pick<Source, "chunks">,
  onFailure: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const chunks = source.chunks();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        onFailure(error);
        throw error;
      }
    },
    async cancel() {
      await chunks.return();
    },
  });
}

export function streamOfBytes(bytes: Uint8Array): ReadableStream<Uint8Array> {
  const { body } = new Response(bytes);
  if (!body) throw new Error("a response of bytes has no body");
  return body;
}
