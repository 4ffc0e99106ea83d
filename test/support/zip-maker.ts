/** ZIP archives written by hand, with everything in them that an archive should not have. */
import { crc32, deflateRawSync } from "node:zlib";

export interface MadeEntry {
  name: string | Uint8Array;
  content?: Uint8Array | string;
  /** 0: stored; 8: deflated. Default: 8. */
  method?: number;
  flags?: number;
  /** The mode of the file on Unix. */
  mode?: number;
  /** What the directory says, if it is not the truth. */
  claims?: Partial<{ bytes: number; compressedBytes: number; crc: number; offset: number; disk: number }>;
  /** What the local header says, if it is not the same. */
  localName?: string;
  extra?: Uint8Array;
}

const UTF8 = 1 << 11;

function words(...fields: [bytes: 2 | 4, value: number][]): Buffer {
  return Buffer.concat(
    fields.map(([bytes, value]) => {
      const field = Buffer.alloc(bytes);
      if (bytes === 2) field.writeUInt16LE(value);
      else field.writeUInt32LE(value);
      return field;
    }),
  );
}

const toBytes = (value: string | Uint8Array) =>
  typeof value === "string" ? Buffer.from(value) : Buffer.from(value);

/** The archive, with `before` in front of it and a comment after it. */
export function makeZip(
  entries: MadeEntry[],
  { before = "", comment = "", count = entries.length } = {},
): Buffer {
  const parts: Buffer[] = [Buffer.from(before)];
  const headers: Buffer[] = [];
  let offset = 0;
  for (const {
    name,
    content = "",
    method = 8,
    flags = UTF8,
    mode = 0o100_644,
    claims = {},
    localName,
    extra = new Uint8Array(),
  } of entries) {
    const encoded = toBytes(name);
    const plain = toBytes(content);
    const data = method === 8 ? deflateRawSync(plain) : plain;
    const { crc = crc32(plain), bytes = plain.length, compressedBytes = data.length } = claims;
    const common = (own: Buffer) => [
      words(
        [2, 20],
        [2, flags],
        [2, method],
        [4, 0],
        [4, crc],
        [4, compressedBytes],
        [4, bytes],
        [2, own.length],
        [2, extra.length],
      ),
    ];
    const local = localName === undefined ? encoded : Buffer.from(localName);
    const record = Buffer.concat([words([4, 0x04034b50]), ...common(local), local, extra, data]);
    headers.push(
      Buffer.concat([
        words([4, 0x02014b50], [2, (3 << 8) | 20]),
        ...common(encoded),
        words([2, 0], [2, claims.disk ?? 0], [2, 0], [4, mode * 0x10000], [4, claims.offset ?? offset]),
        encoded,
        extra,
      ]),
    );
    parts.push(record);
    offset += record.length;
  }
  const directory = Buffer.concat(headers);
  const end = words(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, count],
    [2, count],
    [4, directory.length],
    [4, offset],
    [2, comment.length],
  );
  return Buffer.concat([...parts, directory, end, Buffer.from(comment)]);
}
