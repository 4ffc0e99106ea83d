/**
 * What a browser may show in its window with `?disposition=inline`: images of pixels, audio, video and plain text. None
 * of these can run a script or a plug-in; HTML, SVG, XML and PDF can, so they are always attachments.
 *
 * Many kinds of files have several names, of which a browser knows one and saves the others. Then the file is shown under
 * that one: wave audio is `audio/wav`, whatever its uploader's system called it, and a QuickTime film is read by whatever
 * reads MP4, which was made of it (ISO/IEC 14496-12). As an attachment, it has the type of its uploader.
 */
import { essenceOf, servedType } from "../store/media-type.ts";

/** The types by which browsers know what they can show, and the other names of each. */
const SHOWN: Record<string, string[]> = {
  "text/plain": [],
  "image/png": ["image/x-png"],
  "image/apng": ["image/vnd.mozilla.apng"],
  "image/jpeg": ["image/jpg", "image/pjpeg", "image/jfif"],
  "image/gif": [],
  "image/webp": [],
  "image/avif": ["image/avif-sequence"],
  "image/bmp": ["image/x-bmp", "image/x-ms-bmp", "image/x-windows-bmp"],
  "image/x-icon": ["image/vnd.microsoft.icon", "image/ico", "image/icon"],
  "image/jxl": [],
  "image/heic": ["image/heic-sequence"],
  "image/heif": ["image/heif-sequence"],
  "image/tiff": ["image/tif", "image/x-tiff"],
  "audio/mpeg": ["audio/mp3", "audio/x-mp3", "audio/mpeg3", "audio/x-mpeg", "audio/x-mpeg-3", "audio/mpg"],
  "audio/mp4": ["audio/x-m4a", "audio/m4a", "audio/x-m4b", "audio/m4b", "audio/mp4a-latm"],
  "audio/aac": ["audio/x-aac", "audio/aacp", "audio/x-hx-aac-adts", "audio/vnd.dlna.adts"],
  "audio/ogg": ["audio/x-ogg", "audio/opus", "audio/vorbis", "audio/x-vorbis+ogg", "audio/x-opus+ogg"],
  "audio/wav": ["audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav"],
  "audio/webm": [],
  "audio/flac": ["audio/x-flac"],
  "audio/aiff": ["audio/x-aiff"],
  "audio/3gpp": [],
  "audio/3gpp2": [],
  "video/mp4": ["video/x-m4v", "video/m4v", "video/quicktime", "video/x-quicktime", "video/mov"],
  "video/ogg": ["application/ogg", "video/x-ogg", "video/x-theora+ogg"],
  "video/webm": [],
  "video/3gpp": [],
  "video/3gpp2": [],
  "video/mpeg": ["video/x-mpeg", "video/mpg"],
  "video/x-matroska": ["video/matroska", "video/mkv"],
  "video/x-msvideo": ["video/avi", "video/msvideo"],
};

const NAMES = new Map(
  Object.entries(SHOWN).flatMap(([type, others]) => [type, ...others].map((name) => [name, type] as const)),
);

/** Every type that may be shown. */
export const INLINE_TYPES = [...NAMES.keys()];

/** The Content-Type to show a file of this type with; undefined if it must not be shown. */
export function inlineType(type: string): string | undefined {
  const essence = essenceOf(type);
  const shown = NAMES.get(essence);
  return shown === essence ? servedType(type) : shown;
}
