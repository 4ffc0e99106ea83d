import { expect, test } from "vitest";
import { callImages } from "../../../src/jobs/process/image-service.ts";
import { NonRetryableError } from "../../../src/tasks/index.ts";

const refuse = (why: string) => new NonRetryableError(`refused: ${why}`);

/** A service that knows whether it works: it is only asked about a sound image. */
const service = (works: boolean) =>
  ({
    info: async (stream: ReadableStream) => {
      await new Response(stream).arrayBuffer();
      if (!works) throw new Error("500");
      return { format: "image/gif", width: 1, height: 1, fileSize: 1 };
    },
  }) as unknown as ImagesBinding;

const source = (failure?: Error) => ({
  async *chunks() {
    yield new Uint8Array(10);
    if (failure) throw failure;
  },
});

/** Fails with these, one after the other, and then succeeds. */
function failing(...errors: Error[]) {
  return async (stream: ReadableStream<Uint8Array>) => {
    const { byteLength } = await new Response(stream).arrayBuffer();
    const error = errors.shift();
    if (error) throw error;
    return byteLength;
  };
}

const coded = (code: number) => Object.assign(new Error(`IMAGES_ERROR ${code}: no`), { code });
const unnamed = () =>
  Object.assign(new Error("Unexpected error response 500: /home/me/sharp.js"), { code: 9523 });

const call = async (works: boolean, ...errors: Error[]) =>
  callImages(service(works), source(), refuse, failing(...errors));

test("what succeeds, at once or when it is asked again, is the result", async () => {
  expect(await call(true)).toBe(10);
  expect(await call(true, unnamed())).toBe(10);
  expect(await call(true, new Error("no code at all"))).toBe(10);
});

test("a fault of the image by its code is final, and another code is not", async () => {
  await expect(call(true, coded(9520))).rejects.toThrow(
    "refused: Cloudflare Images says: IMAGES_ERROR 9520: no",
  );
  await expect(call(true, new Error("ERROR 9412: no image"))).rejects.toBeInstanceOf(NonRetryableError);
  for (const errors of [[coded(9522)], [unnamed(), coded(9522)]]) {
    const result = call(true, ...errors);
    await expect(result).rejects.toThrow("Cloudflare Images says: IMAGES_ERROR 9522");
    await expect(result).rejects.not.toBeInstanceOf(NonRetryableError);
  }
});

test("a failure without a code is final if the service takes a sound image, and may pass if it does not", async () => {
  await expect(call(true, unnamed(), unnamed())).rejects.toThrow("refused: it is damaged");
  const result = call(false, unnamed(), unnamed());
  await expect(result).rejects.toThrow("Cloudflare Images does not work at the moment");
  await expect(result).rejects.not.toBeInstanceOf(NonRetryableError);
});

test("a source that cannot be read is no fault of the image", async () => {
  const failure = new Error("R2 is away");
  await expect(callImages(service(true), source(failure), refuse, failing())).rejects.toBe(failure);
});
