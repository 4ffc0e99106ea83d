/**
 * `Range` (RFC 9110 §14). R2 does not parse it here, because the local R2 gets ranges past the end wrong.
 *
 * A request for several ranges gets the whole file, as §14.2 allows: nobody who downloads files sends such requests,
 * and they are a known way to overload a server (§17.15).
 */
import type { ByteRange } from "../store/open-file.ts";

/** `undefined`: no range, or one to ignore; `"unsatisfiable"`: 416. A range that is returned is not empty. */
export function parseRange(header: string | null, size: number): ByteRange | "unsatisfiable" | undefined {
  const [, first = "", last = ""] = /^bytes=[\t ]*(\d*)-(\d*)[\t ]*$/i.exec(header ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  if (first === "") {
    // The suffix of an empty file is the whole file (§14.1.2).
    if (size === 0 && Number(last) > 0) return undefined;
    const length = Math.min(Number(last), size);
    return length === 0 ? "unsatisfiable" : { offset: size - length, length };
  }
  const offset = Number(first);
  if (last !== "" && Number(last) < offset) return undefined;
  if (offset >= size) return "unsatisfiable";
  const end = last === "" ? size : Math.min(Number(last) + 1, size);
  return { offset, length: end - offset };
}

export const contentRange = ({ offset, length }: ByteRange, size: number) =>
  `bytes ${offset}-${offset + length - 1}/${size}`;
