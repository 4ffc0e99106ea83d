/**
 * `resize_image`: a stored image in other sizes and formats, several at once, by Cloudflare Images. It is turned upright as
 * its Exif data says, and the results have no metadata. Each result is a step: a task that goes on makes none of them twice.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { saveFile } from "../../files/index.ts";
import { defineTask, NonRetryableError, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, isThere, outputId } from "../support/outputs.ts";
import { fileId } from "../support/schemas.ts";
import { openSource, type Source } from "../support/sources.ts";
import { callImages, streamOfBytes } from "./image-service.ts";
import { stripJpegMetadata } from "./jpeg-metadata.ts";
import { describeFile, expiresIn } from "./made-file.ts";

/** In bytes: of the source, which streams; and of a result, which is in memory. */
const MAX_SOURCE_BYTES = 70_000_000;
const MAX_RESULT_BYTES = 40_000_000;
/** What Cloudflare Images takes: 100 megapixels. */
const MAX_PIXELS = 100_000_000;
const MAX_SIDE = 12_000;

const FORMATS = ["jpeg", "png", "webp", "avif"] as const;
type Format = (typeof FORMATS)[number];
const SUFFIXES: Record<Format, string> = { jpeg: "jpg", png: "png", webp: "webp", avif: "avif" };

const outputSchema = z
  .strictObject({
    width: z.int().min(1).max(MAX_SIDE).optional(),
    height: z.int().min(1).max(MAX_SIDE).optional(),
    fit: z
      .enum(["scale-down", "contain", "cover", "crop", "pad", "squeeze"])
      .default("scale-down")
      .meta({
        description:
          "`scale-down` and `contain` keep the whole image within the size, `contain` also enlarges it; `cover` and `crop` fill " +
          "the size and cut off the rest, `cover` also enlarges; `pad` adds white; `squeeze` distorts. Default: scale-down.",
      }),
    format: z.enum(FORMATS).optional().meta({ description: "Default: that of the source, or png." }),
    quality: z.int().min(1).max(100).optional().meta({ description: "Of jpeg, webp and avif. Default: 85." }),
  })
  .refine(({ width, height, format }) => (width ?? height ?? format) !== undefined, {
    message: "give at least one of width, height and format",
    path: ["width"],
  });
type Output = z.output<typeof outputSchema>;

const inputSchema = z.strictObject({
  fileId,
  outputs: z
    .array(outputSchema)
    .min(1)
    .max(10)
    .meta({ example: [{ width: 320, height: 320, fit: "cover", format: "webp" }, { width: 1600 }] }),
  expires_in: expiresIn,
});

export const resizeImage = defineTask({
  name: "resize_image",
  input: inputSchema,
  unavailable: (bindings) =>
    "IMAGES" in bindings
      ? undefined
      : 'The binding IMAGES is missing: add [images] with binding = "IMAGES" to wrangler.toml.',
  run: async (ctx, input) => resize(ctx, input),
});

type Input = z.output<typeof inputSchema>;

interface MadeImage extends ReturnType<typeof describeFile> {
  width?: number;
  height?: number;
}

interface Checkpoint {
  /** Of the source. */
  version: string;
  /** One for each output, as far as they are made. */
  made: MadeImage[];
}

export async function resize(ctx: TaskContext, input: Input) {
  const saved = ctx.checkpoint<Checkpoint>()?.made ?? [];
  // Its format may be that of the source, which may be gone.
  const { format } = input.outputs[saved.length] ?? {};
  const next = (format ? [format] : FORMATS).map((one) => nameOf(saved.length, one));
  const ids = [...saved.map(({ fileId: id }) => id), ...next.map((name) => outputId(ctx, name))];
  return allOrNothing(ctx, ids, async () => makeAll(ctx, input, ids));
}

/** Adds to `ids` what it makes besides. */
async function makeAll(ctx: TaskContext, { fileId: id, outputs, expires_in }: Input, ids: string[]) {
  const saved = ctx.checkpoint<Checkpoint>();
  const source = await openSource(ctx.signal, id, saved && { sha256: saved.version });
  const refuse = (why: string) => new NonRetryableError(`the file ${id} cannot be resized: ${why}`);
  const info = await describeImage(source, refuse);
  let made = saved?.made ?? [];
  const last = made.at(-1);
  // They are gone if the task had ended, and was started again.
  if (last && !(await isThere(ctx, last.fileId))) made = [];
  for (const [i, output] of outputs.entries()) {
    if (i < made.length) continue;
    const format = output.format ?? FORMATS.find((one) => info.format === `image/${one}`) ?? "png";
    const name = nameOf(i, format);
    ids.push(outputId(ctx, name));
    const bytes = await callImages(env.IMAGES, source, refuse, async (stream) =>
      transform(stream, output, format),
    );
    if (bytes.length > MAX_RESULT_BYTES)
      throw refuse(`a result has ${bytes.length} bytes, and the limit is ${MAX_RESULT_BYTES}`);
    const result = await env.IMAGES.info(streamOfBytes(bytes));
    const pixels = "width" in result ? { width: result.width, height: result.height } : {};
    const base = source.info.filename.replace(/(?<=.)\.[a-z\d]{1,5}$/i, "");
    const spec = {
      id: outputId(ctx, name),
      filename: `${base}-${"width" in pixels ? `${pixels.width}x${pixels.height}` : i + 1}.${SUFFIXES[format]}`,
      contentType: `image/${format}`,
      source: id,
      task: ctx.taskId,
      expiresInSeconds: expires_in,
    };
    const file = await saveFile(env, spec, bytes, { signal: ctx.signal });
    made.push({ ...describeFile(file), ...pixels });
    await ctx.saveCheckpoint({ version: source.info.sha256, made } satisfies Checkpoint);
    ctx.progress((i + 1) / outputs.length, `${i + 1} of ${outputs.length} images made`);
  }
  return { fileId: id, format: info.format, width: info.width, height: info.height, outputs: made };
}

const nameOf = (index: number, format: Format) => `${index + 1}.${SUFFIXES[format]}`;

/** Its format and size. Throws what `refuse` makes if it cannot be resized. */
async function describeImage(source: Source, refuse: (why: string) => Error) {
  const { size } = source.info;
  if (size > MAX_SOURCE_BYTES) throw refuse(`it has ${size} bytes, and the limit is ${MAX_SOURCE_BYTES}`);
  if (!(await isImage(source))) throw refuse("it is no JPEG, PNG, GIF, WebP, AVIF or HEIC");
  const info = await callImages(env.IMAGES, source, refuse, async (stream) => env.IMAGES.info(stream));
  if (!("width" in info)) throw refuse("it is an SVG, which has no pixels");
  if (info.width * info.height > MAX_PIXELS)
    throw refuse(`it has ${info.width} × ${info.height} pixels, and the limit is ${MAX_PIXELS} in all`);
  return info;
}

async function transform(
  stream: ReadableStream<Uint8Array>,
  { width, height, fit, quality }: Output,
  format: Format,
): Promise<Uint8Array> {
  const size = { ...(width !== undefined && { width }), ...(height !== undefined && { height }) };
  const input = env.IMAGES.input(stream);
  const transformed = width === undefined && height === undefined ? input : input.transform({ ...size, fit });
  const result = await transformed.output({ format: `image/${format}`, quality: quality ?? 85 });
  const bytes = new Uint8Array(await new Response(result.image()).arrayBuffer());
  return format === "jpeg" ? stripJpegMetadata(bytes) : bytes;
}

/** How files of the formats begin that Cloudflare Images reads, as Latin-1. */
const SIGNATURES = [
  /^\xff\xd8\xff/,
  /^\x89PNG\r\n/,
  /^GIF8[79]a/,
  /^RIFF[^]{4}WEBP/,
  /^[^]{4}ftyp(?:avi[fs]|hei[cx]|mif1)/,
];

async function isImage(source: Source): Promise<boolean> {
  const start = Buffer.from(await source.bytes({ offset: 0, length: 16 })).toString("latin1");
  return SIGNATURES.some((signature) => signature.test(start));
}
