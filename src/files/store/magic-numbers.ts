/**
 * How files of known types begin. Each family is a way to begin, and the types whose files begin so. A mark is Latin-1
 * text, in which `?` stands for any byte.
 *
 * A table of our own: the libraries that do this read on asynchronously, and name types that nobody here has to tell
 * apart. What is not in the table is judged by what else it could be (content.ts).
 */

export interface Family {
  /** In lower case; the first is its name. `application/x.*` stands for all that begin so. */
  types: string[];
  marks: string[];
  /** Where the marks are, if not at the beginning. */
  at?: number;
  /** Files of other types, also unknown ones, are made of it. */
  isContainer?: true;
  /** It can pass for text. */
  isText?: true;
}

export const FAMILIES: Family[] = [
  { types: ["image/png", "image/apng", "image/vnd.mozilla.apng"], marks: ["\x89PNG\r\n\x1a\n"] },
  { types: ["image/jpeg", "image/jpg", "image/pjpeg"], marks: ["\xff\xd8\xff"] },
  { types: ["image/gif"], marks: ["GIF87a", "GIF89a"] },
  { types: ["image/webp"], marks: ["RIFF????WEBP"] },
  { types: ["image/bmp", "image/x-ms-bmp"], marks: ["BM????\0\0\0\0"] },
  { types: ["image/tiff"], marks: ["II*\0", "MM\0*"] },
  { types: ["image/x-icon", "image/vnd.microsoft.icon"], marks: ["\0\0\x01\0"] },
  { types: ["image/jxl"], marks: ["\xff\x0a", "\0\0\0\x0cJXL \r\n\x87\n"] },
  { types: ["image/avif"], marks: ["????ftypavif", "????ftypavis", "????ftypmif1"] },
  {
    types: ["image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"],
    marks: ["????ftyphe", "????ftypmif1", "????ftypmsf1"],
  },
  {
    types: [
      "video/mp4",
      "audio/mp4",
      "audio/x-m4a",
      "video/x-m4v",
      "video/quicktime",
      "video/3gpp",
      "audio/3gpp",
    ],
    marks: ["????ftyp", "????moov", "????mdat", "????wide", "????free"],
  },
  {
    types: ["video/webm", "audio/webm", "video/matroska", "video/x-matroska", "audio/x-matroska"],
    marks: ["\x1aE\xdf\xa3"],
  },
  { types: ["video/mpeg"], marks: ["\0\0\x01\xba", "\0\0\x01\xb3"] },
  { types: ["video/x-msvideo", "video/vnd.avi", "video/avi"], marks: ["RIFF????AVI "] },
  { types: ["audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"], marks: ["RIFF????WAVE"] },
  { types: ["audio/mpeg", "audio/mp3"], marks: ["ID3", "\xff\xfb", "\xff\xfa", "\xff\xf3", "\xff\xf2"] },
  { types: ["audio/aac", "audio/aacp"], marks: ["\xff\xf1", "\xff\xf9", "ID3"] },
  { types: ["audio/ogg", "video/ogg", "application/ogg", "audio/opus"], marks: ["OggS"] },
  { types: ["audio/flac", "audio/x-flac"], marks: ["fLaC"] },
  { types: ["audio/aiff", "audio/x-aiff"], marks: ["FORM????AIFF", "FORM????AIFC"] },
  { types: ["audio/midi", "audio/x-midi"], marks: ["MThd"] },
  { types: ["font/woff", "application/font-woff"], marks: ["wOFF"] },
  { types: ["font/woff2"], marks: ["wOF2"] },
  { types: ["font/ttf", "font/otf", "font/sfnt"], marks: ["\0\x01\0\0\0", "OTTO", "true\0"] },
  { types: ["application/pdf"], marks: ["%PDF-"], isText: true },
  { types: ["application/postscript"], marks: ["%!PS"], isText: true },
  { types: ["application/rtf", "text/rtf"], marks: ["{\\rtf"], isText: true },
  {
    types: [
      "application/zip",
      "application/x-zip-compressed",
      "application/epub+zip",
      "application/java-archive",
      "application/vnd.android.package-archive",
      "application/vnd.openxmlformats-officedocument.*",
      "application/vnd.oasis.opendocument.*",
    ],
    marks: ["PK\x03\x04", "PK\x05\x06", "PK\x07\x08"],
    isContainer: true,
  },
  { types: ["application/gzip", "application/x-gzip"], marks: ["\x1f\x8b"], isContainer: true },
  { types: ["application/zstd"], marks: ["\x28\xb5\x2f\xfd"], isContainer: true },
  {
    types: ["application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"],
    marks: ["\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"],
    isContainer: true,
  },
  { types: ["application/x-7z-compressed"], marks: ["7z\xbc\xaf\x27\x1c"] },
  { types: ["application/x-bzip2"], marks: ["BZh?1AY&SY"] },
  { types: ["application/x-xz"], marks: ["\xfd7zXZ\0"] },
  { types: ["application/vnd.rar", "application/x-rar-compressed"], marks: ["Rar!\x1a\x07"] },
  { types: ["application/x-tar"], marks: ["ustar"], at: 257 },
  { types: ["application/wasm"], marks: ["\0asm"] },
  { types: ["application/vnd.sqlite3", "application/x-sqlite3"], marks: ["SQLite format 3\0"] },
  {
    types: ["application/vnd.microsoft.portable-executable", "application/x-msdownload"],
    marks: ["MZ?\0", "MZ\0", "MZ\x90"],
  },
  {
    types: ["application/x-elf", "application/x-executable", "application/x-sharedlib"],
    marks: ["\x7fELF"],
  },
  {
    types: ["application/x-mach-binary", "application/java-vm"],
    marks: ["\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe"],
  },
];

/** Whether files of the type are of this family. */
export const hasType = ({ types }: Family, essence: string): boolean =>
  types.some((type) => type === essence || (type.endsWith(".*") && essence.startsWith(type.slice(0, -1))));

/** Whether the bytes begin as files of this family do. */
export const beginsAs = ({ marks, at = 0 }: Family, head: Uint8Array): boolean =>
  marks.some((mark) => {
    for (let i = 0; i < mark.length; i++) {
      if (mark[i] !== "?" && mark.charCodeAt(i) !== head[at + i]) return false;
    }
    return head.length >= at + mark.length;
  });
