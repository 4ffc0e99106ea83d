/** Removes from a JPEG what it says about its making: Exif (with the place and the camera), XMP, IPTC and comments. */

const SCAN = 0xda;
/** APP1 (Exif, XMP), APP13 (IPTC, Photoshop), and COM. APP2 has the colour profile, APP14 how colours are coded. */
const REMOVED = new Set([0xe1, 0xed, 0xfe]);

/** The picture itself is not touched. Bytes that are no JPEG are returned as they are. */
export function stripJpegMetadata(bytes: Uint8Array): Uint8Array {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept = [bytes.subarray(0, 2)];
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== SCAN) {
    const end = at + 2 + view.getUint16(at + 2);
    if (!REMOVED.has(bytes[at + 1] ?? 0)) kept.push(bytes.subarray(at, end));
    at = end;
  }
  return Buffer.concat([...kept, bytes.subarray(at)]);
}
