/** Images that PDF takes as they are: JPEG, and PNG without transparency and interlacing (ISO 32000-1 §7.4.4, §8.9). */
import { PdfError } from "./pdf-error.ts";
import type { PdfFile, Reference } from "./pdf-file.ts";

export interface PdfImage {
  /** In pixels. */
  width: number;
  height: number;
  write: (file: PdfFile) => Reference;
}

/** Throws a `PdfError` that names the image. */
export function readImage(id: string, bytes: Uint8Array): PdfImage {
  try {
    return readKnown(bytes);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof PdfError)) throw error;
    const why = error instanceof PdfError ? error.message : "it is damaged: it ends too early";
    throw new PdfError(`the image ${id} cannot be shown: ${why}`);
  }
}

function readKnown(bytes: Uint8Array): PdfImage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0) === 0xffd8) return readJpeg(bytes, view);
  if (view.getUint32(0) === 0x89504e47) return readPng(bytes, view);
  throw new PdfError("it is neither JPEG nor PNG: convert it with resize_image");
}

const COLOR_SPACES: Record<number, string> = { 1: "/DeviceGray", 3: "/DeviceRGB", 4: "/DeviceCMYK" };

/** The size is in the start of the frame (ITU T.81 §B.2.2). */
function readJpeg(bytes: Uint8Array, view: DataView): PdfImage {
  for (let at = 2; ; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    if (marker < 0xff01) throw new PdfError("it is damaged: a marker is missing");
    const isFrame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (!isFrame) continue;
    const [height, width, components] = [
      view.getUint16(at + 5),
      view.getUint16(at + 7),
      view.getUint8(at + 9),
    ];
    const space = COLOR_SPACES[components];
    if (!width || !height || space === undefined) throw new PdfError("it has no size, or unknown colours");
    // Photoshop writes CMYK inverted.
    const decode = components === 4 ? "/Decode [1 0 1 0 1 0 1 0] " : "";
    const dictionary = `${imageHead(width, height, 8)} /ColorSpace ${space} ${decode}/Filter /DCTDecode`;
    return { width, height, write: (file) => file.addStream(dictionary, bytes, true) };
  }
}

const imageHead = (width: number, height: number, bits: number) =>
  `/Type /XObject /Subtype /Image /Width ${width} /Height ${height} /BitsPerComponent ${bits}`;

/** The data of a PNG is what PDF reads with its PNG predictor. */
function readPng(bytes: Uint8Array, view: DataView): PdfImage {
  const [width, height, bits, kind] = [
    view.getUint32(16),
    view.getUint32(20),
    view.getUint8(24),
    view.getUint8(25),
  ];
  if (!width || !height) throw new PdfError("it has no size");
  const isInterlaced = view.getUint8(28) !== 0;
  const data: Uint8Array[] = [];
  let palette: Uint8Array | undefined;
  let isTransparent = kind === 4 || kind === 6;
  for (let at = 8; at < bytes.length; ) {
    const length = view.getUint32(at);
    const name = view.getUint32(at + 4);
    const chunk = bytes.subarray(at + 8, at + 8 + length);
    if (chunk.length < length) throw new PdfError("it is damaged: it ends too early");
    if (name === PNG.data) data.push(chunk);
    if (name === PNG.palette) palette = chunk;
    if (name === PNG.transparency) isTransparent = true;
    at += 12 + length;
  }
  if (isTransparent || isInterlaced)
    throw new PdfError("it is a PNG with transparency or interlacing: convert it to JPEG with resize_image");
  const components = kind === 2 ? 3 : 1;
  const space =
    kind === 3 && palette
      ? `[/Indexed /DeviceRGB ${palette.length / 3 - 1} <${Buffer.from(palette).toString("hex")}>]`
      : COLOR_SPACES[components];
  const parameters = `<< /Predictor 15 /Colors ${components} /BitsPerComponent ${bits} /Columns ${width} >>`;
  const dictionary =
    `${imageHead(width, height, bits)} /ColorSpace ${space ?? "/DeviceGray"} ` +
    `/Filter /FlateDecode /DecodeParms ${parameters}`;
  return { width, height, write: (file) => file.addStream(dictionary, Buffer.concat(data), true) };
}

const PNG = { data: 0x49444154, palette: 0x504c5445, transparency: 0x74524e53 };
