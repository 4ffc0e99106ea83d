/** resize_image on pictures as people upload them: what comes out of each, to the colours of its corners. */
import { beforeEach, describe, expect, test } from "vitest";
import { callForJson, callWorker } from "../../support/call.ts";
import { putFile } from "../../support/files.ts";
import { lyingJpeg, PICTURES, readPng } from "../../support/pictures.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { submitted, taskWhen } from "../../support/submissions.ts";

keepQuiet();
// A range that is not read to its end.
expectRuntimeErrors("reader canceled");

type Corner = "top left" | "top right" | "bottom left" | "bottom right";
/** Red and green at the corners of the picture that all of these show; the blue is 100 everywhere. */
const COLOURS: Record<Corner, [red: number, green: number]> = {
  "top left": [0, 0],
  "top right": [255, 0],
  "bottom left": [0, 255],
  "bottom right": [255, 255],
};

let name = "";
beforeEach(() => {
  name = `picture-${crypto.randomUUID()}`;
});

async function resized(picture: Uint8Array, output: object) {
  await putFile(name, picture);
  const id = await submitted({ type: "resize_image", input: { fileId: name, outputs: [output] } });
  const { result } = await taskWhen(id, "succeeded");
  const { outputs, ...source } = result as { outputs: { fileId: string }[] };
  const { response } = await callWorker(`/files/${outputs[0]?.fileId}`);
  return { source, output: outputs[0], bytes: new Uint8Array(await response.arrayBuffer()) };
}

async function reasonOf(picture: Uint8Array | string): Promise<string> {
  await putFile(name, picture);
  const id = await submitted({ type: "resize_image", input: { fileId: name, outputs: [{ width: 8 }] } });
  const { error, attempt } = await taskWhen(id, "failed");
  expect(attempt).toBe(1);
  expect((await callForJson(`/files?source=${name}`)).body.files).toEqual([]);
  return (error as { message: string }).message;
}

/** The corner whose colour is the nearest. Small pictures, lossy formats and CMYK are far from exact. */
function cornerOf([red = 0, green = 0]: number[]): string {
  const distances = Object.entries(COLOURS).map(([corner, [r, g]]): [string, number] => [
    corner,
    Math.hypot(red - r, green - g),
  ]);
  return distances.reduce((nearest, one) => (one[1] < nearest[1] ? one : nearest))[0];
}

describe.each([
  ["a JPEG", PICTURES.jpeg, "image/jpeg"],
  ["a progressive JPEG", PICTURES.progressiveJpeg, "image/jpeg"],
  ["a PNG", PICTURES.png, "image/png"],
  ["a PNG of 16 bits", PICTURES.deepPng, "image/png"],
  ["an animated GIF", PICTURES.animatedGif, "image/gif"],
  ["an animated WebP", PICTURES.animatedWebp, "image/webp"],
  ["a WebP", PICTURES.webp, "image/webp"],
  ["an AVIF", PICTURES.avif, "image/avif"],
])("%s", (_, picture, format) => {
  test("becomes a smaller PNG of the same picture", async () => {
    const { source, output, bytes } = await resized(picture, { width: 12, format: "png" });
    expect(source).toMatchObject({ format, width: 24, height: 16 });
    expect(output).toMatchObject({ contentType: "image/png", width: 12, height: 8 });
    const { width, height, pixel } = readPng(bytes);
    expect([width, height]).toEqual([12, 8]);
    const corners = [pixel(0, 0), pixel(11, 0), pixel(0, 7), pixel(11, 7)].map(cornerOf);
    expect(corners).toEqual(["top left", "top right", "bottom left", "bottom right"]);
  });
});

test("a JPEG in CMYK has about its colours, and not their opposites", async () => {
  const { source, bytes } = await resized(PICTURES.cmykJpeg, { width: 12, format: "png" });
  expect(source).toMatchObject({ format: "image/jpeg", width: 24, height: 16 });
  const { pixel } = readPng(bytes);
  const [dark = 0] = pixel(0, 0);
  const [red = 0, , blue = 0] = pixel(11, 0);
  const [less = 0, green = 0] = pixel(0, 7);
  expect({ dark: dark < 100, red: red - blue > 50, green: green - less > 20 }).toEqual({
    dark: true,
    red: true,
    green: true,
  });
});

test("a JPEG without colours stays grey", async () => {
  const { bytes } = await resized(PICTURES.greyJpeg, { width: 12, format: "png" });
  const [first = 0, second = first, third = first] = readPng(bytes).pixel(6, 4);
  expect([Math.abs(first - second) < 3, Math.abs(first - third) < 3]).toEqual([true, true]);
});

test("what is transparent in a palette is transparent in a PNG", async () => {
  const { bytes } = await resized(PICTURES.palettePng, { width: 12 });
  const { pixel } = readPng(bytes);
  expect(pixel(1, 4)[3]).toBe(0);
  expect(pixel(10, 4)).toEqual([255, 0, 0, 255]);
});

// Exif 2.3, 4.6.4 A: where row 0 and column 0 of the data are in the picture.
test.each<[number, Corner, Corner]>([
  [1, "top left", "top right"],
  [2, "top right", "top left"],
  [3, "bottom right", "bottom left"],
  [4, "bottom left", "bottom right"],
  [5, "top left", "bottom left"],
  [6, "bottom left", "top left"],
  [7, "bottom right", "top right"],
  [8, "top right", "bottom right"],
])("a JPEG with the orientation %i is turned upright", async (orientation, left, right) => {
  const { bytes } = await resized(lyingJpeg(orientation), { width: 400, format: "png" });
  const { width, height, pixel } = readPng(bytes);
  expect([width, height]).toEqual(orientation < 5 ? [24, 16] : [16, 24]);
  expect([cornerOf(pixel(0, 0)), cornerOf(pixel(width - 1, 0))]).toEqual([left, right]);
});

describe("fails at once, says why and leaves nothing:", () => {
  const half = (picture: Uint8Array) => picture.subarray(0, picture.length / 2);
  const heic = Buffer.concat([
    Buffer.from("\0\0\0\x18ftypheic\0\0\0\0mif1heic", "latin1"),
    Buffer.alloc(500),
  ]);
  test.each<[string, Uint8Array | string]>([
    ["half a PNG", half(PICTURES.png)],
    ["the first bytes of a PNG", PICTURES.png.subarray(0, 20)],
    ["half a JPEG", half(PICTURES.jpeg)],
    ["the head of a JPEG", PICTURES.jpeg.subarray(0, 30)],
    ["half a GIF", half(PICTURES.animatedGif)],
    ["half a WebP", half(PICTURES.webp)],
    ["half an AVIF", half(PICTURES.avif)],
    ["a HEIC that has no picture", heic],
    ["a BMP", "BM\x36\x00\x00\x00\x00\x00\x00\x00"],
    ["a TIFF", "II*\0\x08\0\0\0"],
    ["nothing", ""],
  ])("%s", async (_, picture) => {
    expect(await reasonOf(picture)).toContain(`the file ${name} cannot be resized: `);
  });
});
