/**
 * The charset of text, from its first bytes: a byte order mark, or what the bytes look like.
 *
 * Text without a mark is UTF-8 if its bytes are, UTF-16 if half of them are NUL, and otherwise Windows-1252, of which
 * Latin-1 is a part. What is ASCII alone may become either later on; `settleCharset` decides it at the first other byte.
 */

/** Those in which a delimiter, a quote and a line end are single bytes that mean nothing else; and UTF-16. */
export const CHARSETS = [
  "utf-8",
  "utf-16le",
  "utf-16be",
  "windows-1252",
  "iso-8859-1",
  "windows-1250",
  "windows-1251",
  "iso-8859-2",
  "iso-8859-15",
] as const;
/** `ascii`: not known yet. */
export type Charset = (typeof CHARSETS)[number] | "ascii";

interface DetectedCharset {
  charset: Charset;
  /** Of the byte order mark, in bytes. */
  markBytes: number;
}

const MARKS: readonly { charset: Charset; bytes: readonly number[] }[] = [
  { charset: "utf-8", bytes: [0xef, 0xbb, 0xbf] },
  { charset: "utf-16le", bytes: [0xff, 0xfe] },
  { charset: "utf-16be", bytes: [0xfe, 0xff] },
];

/** `given`: what the caller says it is. A byte order mark is skipped all the same. */
export function detectCharset(head: Uint8Array, given?: Charset): DetectedCharset {
  const mark = MARKS.find(({ bytes }) => bytes.every((byte, i) => head[i] === byte));
  if (given) return { charset: given, markBytes: mark?.charset === given ? mark.bytes.length : 0 };
  if (mark) return { charset: mark.charset, markBytes: mark.bytes.length };
  return { charset: detectUtf16(head) ?? settleCharset(head) ?? "ascii", markBytes: 0 };
}

/** UTF-8 or Windows-1252, by the first bytes that are not ASCII; undefined if all are. */
export function settleCharset(bytes: Uint8Array): Charset | undefined {
  const first = bytes.findIndex((byte) => byte >= 0x80);
  if (first < 0) return undefined;
  try {
    new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(first), {
      stream: true,
    });
    return "utf-8";
  } catch {
    return "windows-1252";
  }
}

/** In UTF-16 every second byte of the text that tables are made of is NUL, and hardly any other. */
function detectUtf16(head: Uint8Array): Charset | undefined {
  const length = Math.min(head.length, 4096) & ~1;
  const nuls = [0, 0];
  for (let i = 0; i < length; i++) if (head[i] === 0) nuls[i & 1] = (nuls[i & 1] ?? 0) + 1;
  const [even = 0, odd = 0] = nuls;
  if (odd > length * 0.35 && even < length * 0.05) return "utf-16le";
  return even > length * 0.35 && odd < length * 0.05 ? "utf-16be" : undefined;
}

export const isUtf16 = (charset: Charset): boolean => charset === "utf-16le" || charset === "utf-16be";

/** How many bytes text takes in UTF-16 that takes these in UTF-8. */
export function countUtf16Bytes(utf8: Uint8Array, start: number, end: number): number {
  let units = 0;
  for (let i = start; i < end; i++) {
    const byte = utf8[i] ?? 0;
    // The first byte of a character; with four bytes, it takes two units.
    if (byte < 0x80 || byte >= 0xc0) units += byte >= 0xf0 ? 2 : 1;
  }
  return 2 * units;
}

/** What the text is decoded with once it has been read: UTF-16 has been read as UTF-8. */
export const displayCharset = (charset: Charset): string =>
  isUtf16(charset) || charset === "ascii" ? "utf-8" : charset;
