/**
 * `Range` (RFC 9110 §14). R2's own reading of it is not used: the local one gets ranges past the end wrong.
 *
 * Several ranges are answered with the whole file, as §14.2 allows: nobody who downloads files asks for them, and
 * they are a known way to wear a server down (§17.15).
 */

/** Bytes `offset` to `offset + length - 1`; `length` is at least 1. */
export interface ByteRange {
  offset: number;
  length: number;
}

/** `undefined`: no range, or one to be ignored; `"unsatisfiable"`: 416. */
export function parseRange(header: string | null, size: number): ByteRange | "unsatisfiable" | undefined {
  const [, first = "", last = ""] = /^bytes=[\t ]*(\d*)-(\d*)[\t ]*$/i.exec(header ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  if (first === "") {
    // All there is of an empty file is the whole of it (§14.1.2).
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
