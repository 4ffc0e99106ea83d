/** The names of a ZIP archive's entries: how they are read, and which of them are safe. */
import { crc32 } from "node:zlib";
import { FLAG, type RawEntry, RecordReader } from "./zip-format.ts";

/** Characters 128 to 255 of code page 437 (APPNOTE §D.1). */
const CP437 =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
  "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

const UNICODE_PATH = 0x7075;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The name of an entry. UTF-8 if the archive says so (a flag, or Info-ZIP's extra block), or if it is valid UTF-8, as
 * macOS writes without saying so; otherwise code page 437.
 */
export function readName({ flags, name, extra }: Pick<RawEntry, "flags" | "name" | "extra">): string {
  const unicode = extra.get(UNICODE_PATH);
  if (unicode && unicode.length > 5 && unicode[0] === 1) {
    const reader = new RecordReader(unicode, 1);
    if (reader.u32() === crc32(name)) return decodeUtf8(unicode.subarray(5)) ?? fromCp437(name);
  }
  const text = decodeUtf8(name);
  if ((flags & FLAG.utf8) !== 0) return text ?? name.toString();
  return text ?? fromCp437(name);
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

const fromCp437 = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => (byte < 128 ? String.fromCharCode(byte) : CP437[byte - 128])).join("");

/** In bytes of UTF-8. */
const MAX_PATH_BYTES = 1_024;
/** As in src/files/store/names.ts: what hides or turns round a part of the name. */
const INVISIBLE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

/**
 * A path that stays inside the folder it is unpacked into: parts with a slash between them. Backslashes are slashes, as
 * Windows reads them, and parts that lead nowhere (`.`, or nothing) are left out. Or the reason why there is no such path.
 */
export function safePath(name: string): { path: string } | { fault: string } {
  const slashed = name.replaceAll("\\", "/");
  if (INVISIBLE.test(slashed)) return { fault: "its name has invisible characters" };
  if (!slashed.isWellFormed()) return { fault: "its name is not Unicode" };
  if (slashed.startsWith("/") || /^[a-z]:/i.test(slashed)) return { fault: "its path is absolute" };
  const parts = slashed.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) return { fault: "its path leads out of the archive" };
  if (parts.length === 0) return { fault: "it has no name" };
  const path = parts.join("/").normalize("NFC");
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    return { fault: `its path is longer than ${MAX_PATH_BYTES} bytes` };
  return { path };
}

export const filenameIn = (path: string) => path.slice(path.lastIndexOf("/") + 1);

/** The folders that a path leads through, the outermost first. */
export function foldersOf(path: string): string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("/"));
}

/**
 * The names, each once: a name that another file or a folder has gets a number, `report (2).pdf`. Upper and lower case do
 * not differ.
 */
export function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set(names.flatMap(foldersOf).map((folder) => folder.toLowerCase()));
  const isFree = (name: string) => !taken.has(name.toLowerCase());
  return names.map((name) => {
    const dot = name.lastIndexOf(".");
    const end = dot > name.lastIndexOf("/") + 1 ? dot : name.length;
    let unique = name;
    for (let n = 2; !isFree(unique); n++) unique = `${name.slice(0, end)} (${n})${name.slice(end)}`;
    taken.add(unique.toLowerCase());
    return unique;
  });
}
