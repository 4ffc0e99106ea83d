import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { stripJpegMetadata } from "../../../src/jobs/process/jpeg-metadata.ts";
import { resize, resizeImage } from "../../../src/jobs/process/resize-image.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { makePng } from "../../support/image-maker.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { TestTask } from "../../support/task-context.ts";

// A range that is not read to its end.
expectRuntimeErrors("reader canceled");

async function bytesOf(fileId: string): Promise<Uint8Array> {
  const { response } = await callWorker(`/files/${fileId}`);
  expect(response.status).toBe(200);
  return new Uint8Array(await response.arrayBuffer());
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  const { body } = new Response(bytes);
  if (!body) throw new Error("no body");
  return body;
}
const sizeOf = async (bytes: Uint8Array) => env.IMAGES.info(streamOf(bytes));

beforeEach(async () => {
  await reset();
  const headers = { "Content-Disposition": 'attachment; filename="holiday.png"' };
  await putFile("photo", makePng(60, 30), { headers });
});

test("makes several images at once, each a file that is linked to its source", async () => {
  const outputs = [
    { width: 20 },
    { width: 10, height: 10, fit: "cover", format: "webp" },
    { width: 600, format: "jpeg", quality: 50 },
    { width: 120, fit: "contain", format: "avif" },
  ];
  const id = await submitted({ type: "resize_image", input: { fileId: "photo", outputs } });
  const { result } = await taskWhen(id, "succeeded");
  expect(result).toMatchObject({
    fileId: "photo",
    format: "image/png",
    width: 60,
    height: 30,
    outputs: [
      {
        fileId: `${id}.1.png`,
        filename: "holiday-20x10.png",
        contentType: "image/png",
        width: 20,
        height: 10,
      },
      { fileId: `${id}.2.webp`, filename: "holiday-10x10.webp", width: 10, height: 10 },
      // Never enlarged, unless that is asked for.
      { fileId: `${id}.3.jpg`, contentType: "image/jpeg", width: 60, height: 30 },
      { fileId: `${id}.4.avif`, width: 120, height: 60 },
    ],
  });
  expect(await sizeOf(await bytesOf(`${id}.2.webp`))).toMatchObject({
    format: "image/webp",
    width: 10,
    height: 10,
  });
  expect((await callForJson("/files?source=photo")).body.files).toHaveLength(4);
  expect((await fetchText(`/tasks/${id}/events`)).text).toContain("4 of 4 images made");
});

/** A JPEG with Exif data that says that the picture lies on its side. */
async function lyingJpeg(): Promise<Uint8Array> {
  const made = await env.IMAGES.input(streamOf(makePng(60, 30))).output({ format: "image/jpeg" });
  const jpeg = Buffer.from(await new Response(made.image()).arrayBuffer());
  const exif = Buffer.from("4578696600004d4d002a000000080001011200030000000100060000000000", "hex");
  const segment = Buffer.concat([Buffer.from([0xff, 0xe1, 0, exif.length + 2]), exif]);
  return Buffer.concat([jpeg.subarray(0, 2), segment, jpeg.subarray(2)]);
}

test("turns an image upright, and removes its metadata", async () => {
  await putFile("lying", await lyingJpeg());
  const id = await submitted({ type: "resize_image", input: { fileId: "lying", outputs: [{ height: 20 }] } });
  expect(await taskWhen(id, "succeeded")).toMatchObject({ result: { outputs: [{ width: 10, height: 20 }] } });
  expect(Buffer.from(await bytesOf(`${id}.1.jpg`)).includes("Exif")).toBe(false);
});

test("the metadata of a JPEG is removed, and nothing else", async () => {
  const jpeg = await lyingJpeg();
  const stripped = Buffer.from(stripJpegMetadata(jpeg));
  expect([Buffer.from(jpeg).includes("Exif"), stripped.includes("Exif")]).toEqual([true, false]);
  expect(jpeg.length - stripped.length).toBe(35);
  expect(await sizeOf(stripped)).toMatchObject({ format: "image/jpeg", width: 60, height: 30 });
  const text = Buffer.from("no picture");
  expect(stripJpegMetadata(text)).toBe(text);
});

test("goes on after the images that are made", async () => {
  const task = new TestTask();
  const input = {
    fileId: "photo",
    outputs: [
      { width: 20, fit: "cover" as const },
      { width: 10, fit: "cover" as const },
    ],
  };
  await expect(task.run(async (ctx) => resize(ctx, input), 3)).rejects.toThrow("cut at moment 3");
  const files = async () => (await callForJson("/files?source=photo")).body.files as { etag: string }[];
  const [first] = await files();
  const { outputs } = await task.run(async (ctx) => resize(ctx, input));
  expect(outputs).toMatchObject([{ width: 20 }, { width: 10 }]);
  // The first is the same version, not one that was made anew.
  expect((await files()).map(({ etag }) => etag)).toContain(first?.etag);
});

test("without its binding, the type says what to add", () => {
  expect(resizeImage.unavailable?.(env)).toBeUndefined();
  const { IMAGES: _, ...others } = env;
  expect(resizeImage.unavailable?.(others as Env)).toContain(
    'add [images] with binding = "IMAGES" to wrangler.toml',
  );
});

describe("fails, and says why:", () => {
  test.each([
    ["what is no image", "hello", "the file other cannot be resized: it is no JPEG, PNG"],
    ["an SVG", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "it is no JPEG"],
  ])("%s", async (_, body, message) => {
    await putFile("other", body);
    const id = await submitted({ type: "resize_image", input: { fileId: "other", outputs: [{ width: 5 }] } });
    expect(await taskWhen(id, "failed")).toMatchObject({
      error: { message: expect.stringContaining(message) },
    });
    expect((await callForJson("/files?source=other")).body.files).toEqual([]);
  });
});

/** Of each format that is taken, how a file begins that then has nothing sound. */
const HEADS = {
  jpeg: Buffer.from([0xff, 0xd8, 0xff, 0xe0]),
  png: Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
  gif: Buffer.from("GIF89a"),
  webp: Buffer.from("RIFF\x40\0\0\0WEBPVP8 ", "latin1"),
  avif: Buffer.from("\0\0\0\x1cftypavif", "latin1"),
};
const photo = Buffer.from(makePng(60, 30));
const DAMAGED: [string, Uint8Array][] = [
  ...Object.entries(HEADS).map(([format, head]): [string, Uint8Array] => [
    `the head of a ${format} alone`,
    Buffer.concat([head, Buffer.alloc(40)]),
  ]),
  ["a PNG that is cut off", photo.subarray(0, 60)],
  ["a PNG whose middle is damaged", Buffer.from(photo).fill(0x78, 45, 60)],
];

test.each(DAMAGED)("%s fails at once and for good, in words of our own", async (_, bytes) => {
  await putFile("bad", bytes);
  const id = await submitted({ type: "resize_image", input: { fileId: "bad", outputs: [{ width: 5 }] } });
  expect(await taskWhen(id, "failed")).toMatchObject({
    attempt: 1,
    error: {
      name: "NonRetryableError",
      message:
        "the file bad cannot be resized: it is damaged, or of a kind that Cloudflare Images does not read",
    },
  });
});

test.each([
  [{ fileId: "a" }, "json/input/outputs"],
  [{ fileId: "a", outputs: [] }, "json/input/outputs"],
  [{ fileId: "a", outputs: [{}] }, "json/input/outputs/0/width"],
  [{ fileId: "a", outputs: [{ width: 0 }] }, "json/input/outputs/0/width"],
  [{ fileId: "a", outputs: [{ width: 1, fit: "stretch" }] }, "json/input/outputs/0/fit"],
  [{ fileId: "a", outputs: [{ format: "gif" }] }, "json/input/outputs/0/format"],
  [{ fileId: "a", outputs: [{ width: 1, quality: 101 }] }, "json/input/outputs/0/quality"],
])("refuses %j, and starts nothing", async (input, at) => {
  const { status, body } = await submit({ type: "resize_image", input });
  expect([status, body.errors]).toEqual([422, [expect.objectContaining({ at })]]);
});
