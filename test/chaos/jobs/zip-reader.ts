/** Reads a ZIP archive that is in memory, by its directory (APPNOTE 4.3.12), and checks each CRC-32. */
import { crc32, inflateRawSync } from "node:zlib";

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const END_BYTES = 22;

/** The entries by their paths. Throws if anything is not as it should be. Zip64 and comments are not understood. */
export function readZip(archive: Buffer): Map<string, Buffer> {
  const end = archive.length - END_BYTES;
  if (archive.readUInt32LE(end) !== END) throw new Error("the archive has no end");
  const entries = new Map<string, Buffer>();
  let at = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left--) {
    if (archive.readUInt32LE(at) !== ENTRY) throw new Error(`there is no entry at ${at}`);
    const [method, crc] = [archive.readUInt16LE(at + 10), archive.readUInt32LE(at + 16)];
    const [packedBytes, start] = [archive.readUInt32LE(at + 20), archive.readUInt32LE(at + 42)];
    const [nameBytes, extraBytes] = [archive.readUInt16LE(at + 28), archive.readUInt16LE(at + 30)];
    const path = archive.subarray(at + 46, at + 46 + nameBytes).toString();
    const begin = start + 30 + archive.readUInt16LE(start + 26) + archive.readUInt16LE(start + 28);
    const packed = archive.subarray(begin, begin + packedBytes);
    const bytes = method === 8 ? inflateRawSync(packed) : packed;
    if (crc32(bytes) !== crc) throw new Error(`${path}: its bytes do not match its CRC-32`);
    if (entries.has(path)) throw new Error(`${path} is there twice`);
    entries.set(path, bytes);
    at += 46 + nameBytes + extraBytes + archive.readUInt16LE(at + 32);
  }
  return entries;
}
