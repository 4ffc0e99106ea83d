/**
 * A PDF file (ISO 32000-1:2008): numbered objects, a table of where they are, and what refers to what. Writes version 1.7
 * with compressed streams; the same content gives the same bytes.
 */
import { deflateSync } from "node:zlib";

/** An object of the file, by its number. */
export type Reference = `${number} 0 R`;

const latin1 = (text: string) => Buffer.from(text, "latin1");

/** Numbers as PDF takes them: no exponents, and no more digits than can be seen. */
export const number = (value: number): string => String(Math.round(value * 1_000) / 1_000);

/** Text for people, in UTF-16 (§7.9.2.2). */
export const textString = (text: string): string => {
  const bytes = Buffer.from(`\ufeff${text}`, "utf16le").swap16();
  return `<${bytes.toString("hex")}>`;
};

/** A string of ASCII, such as a URL. */
export const asciiString = (text: string): string =>
  `(${text.replaceAll(/[\\()]/g, "\\$&").replaceAll(/[^\x20-\x7e]/g, "")})`;

/** The objects of a file under construction. */
export class PdfFile {
  readonly #objects: (Uint8Array | undefined)[] = [];

  /** Reserves a number for an object that others refer to before it is written. */
  reserve(): Reference {
    this.#objects.push(undefined);
    return `${this.#objects.length} 0 R`;
  }

  /** Writes an object, under a reserved number if one is given. */
  add(content: string, at: Reference = this.reserve()): Reference {
    this.#objects[Number.parseInt(at, 10) - 1] = latin1(content);
    return at;
  }

  /** Writes a stream. `isPacked`: its dictionary says how its bytes are packed; otherwise they are deflated here. */
  addStream(dictionary: string, bytes: Uint8Array, isPacked = false): Reference {
    const data = isPacked ? bytes : deflateSync(bytes);
    const filter = isPacked ? "" : "/Filter /FlateDecode ";
    const head = latin1(`<< ${dictionary} ${filter}/Length ${data.length} >>\nstream\n`);
    const at = this.reserve();
    this.#objects[Number.parseInt(at, 10) - 1] = Buffer.concat([head, data, latin1("\nendstream")]);
    return at;
  }

  /** The whole file. */
  finish(root: Reference, info: Reference): Uint8Array {
    const parts: Uint8Array[] = [latin1("%PDF-1.7\n%\u00e2\u00e3\u00cf\u00d3\n")];
    let offset = parts[0]?.length ?? 0;
    const table = ["0000000000 65535 f \n"];
    for (const [i, object] of this.#objects.entries()) {
      if (!object) throw new Error(`the object ${i + 1} was reserved and not written`);
      table.push(`${String(offset).padStart(10, "0")} 00000 n \n`);
      const part = Buffer.concat([latin1(`${i + 1} 0 obj\n`), object, latin1("\nendobj\n")]);
      parts.push(part);
      offset += part.length;
    }
    const size = table.length;
    const trailer = `trailer\n<< /Size ${size} /Root ${root} /Info ${info} >>\nstartxref\n${offset}\n%%EOF\n`;
    parts.push(latin1(`xref\n0 ${size}\n${table.join("")}${trailer}`));
    return Buffer.concat(parts);
  }
}
