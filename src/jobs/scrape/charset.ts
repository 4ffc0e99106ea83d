/**
 * The text of a page from its bytes: which charset it has, as browsers find out (HTML §13.2.3.2).
 *
 * A byte order mark decides, then the charset of the Content-Type, then a `<meta>` in the first 1,024 bytes. Without any
 * of them it is UTF-8 if the bytes are valid UTF-8, and windows-1252 otherwise. Decoding never fails: what is not valid
 * becomes U+FFFD.
 */
import { parse } from "content-type";

/** How far into a page a `<meta>` may name its charset. */
const PRESCAN_BYTES = 1_024;

export interface Decoded {
  text: string;
  /** Its name in the Encoding standard, such as `windows-1252`. */
  charset: string;
}

/** `contentType`: the header of the response. `isWhole`: false if the page was cut, maybe in the middle of a character. */
export function decodePage(bytes: Uint8Array, contentType: string | null, isWhole: boolean): Decoded {
  const decoder = bomDecoder(bytes) ?? decoderOf(charsetOf(contentType)) ?? metaDecoder(bytes);
  if (decoder) return { text: decoder.decode(bytes), charset: decoder.encoding };
  const text = asUtf8(bytes, isWhole);
  if (text !== undefined) return { text, charset: "utf-8" };
  return { text: new TextDecoder("windows-1252").decode(bytes), charset: "windows-1252" };
}

function bomDecoder([a, b, c]: Uint8Array): TextDecoder | undefined {
  if (a === 0xef && b === 0xbb && c === 0xbf) return new TextDecoder("utf-8");
  if (a === 0xfe && b === 0xff) return new TextDecoder("utf-16be");
  return a === 0xff && b === 0xfe ? new TextDecoder("utf-16le") : undefined;
}

function charsetOf(contentType: string | null): string | undefined {
  if (contentType === null) return undefined;
  return parse(contentType).parameters.charset;
}

/** Undefined for a charset that nobody knows: then the page's own word counts. */
function decoderOf(label: string | undefined): TextDecoder | undefined {
  if (label === undefined) return undefined;
  try {
    return new TextDecoder(label.trim());
  } catch {
    return undefined;
  }
}

/** The charset that a `<meta charset>` or `<meta http-equiv>` names. It was read as ASCII, so it cannot be UTF-16. */
function metaDecoder(bytes: Uint8Array): TextDecoder | undefined {
  const start = new TextDecoder("windows-1252").decode(bytes.subarray(0, PRESCAN_BYTES));
  for (const [tag] of start.replaceAll(/<!--[^]{0,1024}?-->/g, "").matchAll(/<meta[\s/][^>]{0,1024}/gi)) {
    const label = /charset\s{0,9}=\s{0,9}["']?([^\s"';/>]{1,40})/i.exec(tag)?.[1];
    const decoder = decoderOf(label);
    if (decoder) return decoder.encoding.startsWith("utf-16") ? new TextDecoder("utf-8") : decoder;
  }
  return undefined;
}

/** Undefined if the bytes are not UTF-8. */
function asUtf8(bytes: Uint8Array, isWhole: boolean): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes, { stream: !isWhole });
  } catch {
    return undefined;
  }
}
