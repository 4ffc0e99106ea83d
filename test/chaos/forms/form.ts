/** Form data as parts, before it is serialized; and valid forms of every kind that a client may send. */
import { createHash } from "node:crypto";
import type { Random } from "../random.ts";
import { CHARSETS, digestLine, encodeTransfer, type FormCharset } from "./encodings.ts";

/** Text here is latin1, one byte for each character, so that it can be any bytes. */
export interface Form {
  boundary: string;
  contentType: string;
  preamble: string;
  parts: Part[];
  /** What comes after the last part: the closing delimiter, and an epilogue. */
  end: string;
}

export interface Part {
  /** The lines of its header. */
  header: string[];
  body: Buffer;
}

/** The content of a valid form, which the response must contain. */
export interface Content {
  files: { field: string; filename: string; size: number; sha256: string }[];
  fields: { name: string; value: string }[];
}

export const ROUTES = ["/files", "/upload-file"] as const;
export type Route = (typeof ROUTES)[number];

export const bytesOf = (text: string): string => Buffer.from(text).toString("latin1");

export function pick<T>(random: Random, [first, ...others]: readonly [T, ...T[]]): T {
  return others[random.between(0, others.length) - 1] ?? first;
}

/** The form as it is sent. */
export function toBytes({ boundary, preamble, parts, end }: Form): Buffer {
  const pieces = parts.flatMap(({ header, body }) => [
    Buffer.from(`--${boundary}\r\n${header.map((line) => `${line}\r\n`).join("")}\r\n`, "latin1"),
    body,
    Buffer.from("\r\n"),
  ]);
  return Buffer.concat([Buffer.from(preamble, "latin1"), ...pieces, Buffer.from(end, "latin1")]);
}

const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/** Includes those that need quoting, and those that the standard does not allow but clients use. */
const BOUNDARY_CHARACTERS = `${LETTERS}'()+_,-./:=?*!#$%&@^|~{}[]<>;\``;

const FIELD_NAMES = [
  "a",
  "upload[]",
  "félicité",
  "字段",
  "__proto__",
  "constructor",
  "a b",
  'a"b',
  "a;b=c",
  "",
] as const;
const FILENAMES = [
  "report.pdf",
  "röntgen bild.png",
  "報告書.docx",
  "👩‍💻 émoji.txt",
  "תמונה‮gnp.exe",
  'a "quoted" one.txt',
  'a";b.txt',
  'ends with a quote"',
  "semi;colon=equals.txt",
  "back\\slash.txt",
  "100%.txt",
  "__proto__",
  ".htaccess",
  `${"long".repeat(60)}.bin`,
] as const;
const TYPES = [
  "text/plain",
  "application/octet-stream",
  "image/png",
  "text/html; charset=utf-8",
  "text/plain; charset=iso-8859-1",
  "made/up",
] as const;

/** A valid form for the route, and its content. */
export function makeForm(random: Random, route: Route): { form: Form; content: Content } {
  const boundary = makeBoundary(random);
  const charset = random.chance(0.1) ? pick(random, CHARSETS) : undefined;
  const form: Making = { random, boundary, charset, content: { files: [], fields: [] } };
  const { content } = form;
  const inHeader = charset !== undefined && random.chance(0.3);
  const parts: Part[] = charset && !inHeader ? [makeCharsetField(charset, content)] : [];
  const onlyFile = route === "/upload-file" ? random.between(0, 2) : -1;
  const count = route === "/upload-file" ? random.between(onlyFile + 1, 4) : random.between(0, 5);
  for (let i = 0; i < count; i++) {
    const isFile = onlyFile === -1 ? random.chance(0.35) : i === onlyFile;
    const field = onlyFile === i ? "file" : pick(random, FIELD_NAMES);
    parts.push(isFile ? makeFile(form, field) : makeField(form, field));
  }
  if (random.chance(0.1)) parts.splice(random.between(0, parts.length), 0, makeEmptyInput(random));
  const quoted = /^[^;\s]+$/.test(boundary) && random.chance(0.8) ? boundary : `"${boundary}"`;
  const made = {
    boundary,
    contentType: `multipart/form-data; boundary=${quoted}${inHeader ? `; charset=${charset.label}` : ""}`,
    preamble: random.chance(0.05) ? "This is for clients that do not support forms.\r\n" : "",
    parts,
    end: `--${boundary}--${pick(random, ["\r\n", "\r\n", "", "\r\nAn epilogue.\r\n"])}`,
  };
  return { form: made, content };
}

/** A form that is being made. */
interface Making {
  random: Random;
  boundary: string;
  /** Of all its text; undefined: UTF-8. */
  charset: FormCharset | undefined;
  content: Content;
}

/** As a browser sends a file input that was left empty: it is no file. */
function makeEmptyInput(random: Random): Part {
  const header = [
    `Content-Disposition: form-data; name="${pick(random, ["file", "cover", "e"])}"; filename=""`,
  ];
  if (random.chance(0.8)) header.push("Content-Type: application/octet-stream");
  return { header, body: Buffer.alloc(0) };
}

/** Says the charset of the form. It comes first, so that it counts for names too. */
function makeCharsetField({ label }: FormCharset, { fields }: Content): Part {
  fields.push({ name: "_charset_", value: label });
  return { header: ['Content-Disposition: form-data; name="_charset_"'], body: Buffer.from(label) };
}

function makeBoundary(random: Random): string {
  const draw = (from: string, length: number) =>
    Array.from({ length }, () => from[random.between(0, from.length - 1)]).join("");
  const kinds = [
    () => `----WebKitFormBoundary${draw(LETTERS, 16)}`,
    () => `------------------------${draw(LETTERS, 22)}`,
    () => `-----------------------------${random.between(1e9, 2e9)}`,
    () => draw(LETTERS, 1),
    () => draw(BOUNDARY_CHARACTERS, random.between(1, 70)),
    () => draw(BOUNDARY_CHARACTERS, 70),
    () => "*****",
  ] as const;
  return pick(random, kinds)();
}

function makeFile({ random, boundary, charset, content }: Making, anyField: string): Part {
  const field = charset && anyField !== "file" ? charset.name : anyField;
  const filename = charset ? charset.name : pick(random, FILENAMES);
  const bytes = makeBody(random, boundary);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  content.files.push({ field, filename: kept(filename), size: bytes.length, sha256 });
  const named = random.chance(0.2)
    ? `filename="fallback.bin"; filename*=UTF-8''${encodeURIComponent(filename).replaceAll("'", "%27")}`
    : undefined;
  const header = [`Content-Disposition: form-data; ${disposition(random, field, filename, charset, named)}`];
  if (random.chance(0.9)) header.push(`Content-Type: ${pick(random, TYPES)}`);
  if (random.chance(0.1)) header.push(digestLine(random, bytes));
  const { encoding, body } = encodeTransfer(random, bytes);
  if (encoding !== undefined) header.push(`Content-Transfer-Encoding: ${encoding}`);
  if (random.chance(0.1)) header.reverse();
  return { header: random.chance(0.1) ? header.map(lowerName) : header, body };
}

function makeField({ random, boundary, charset, content }: Making, anyName: string): Part {
  const own = charset ?? (random.chance(0.1) ? pick(random, CHARSETS) : undefined);
  const name = charset ? charset.name : anyName;
  const value = own
    ? own.name
    : random.chance(0.3)
      ? pick(random, FILENAMES)
      : makeBody(random, boundary).toString("hex").slice(0, 999);
  content.fields.push({ name, value });
  const header = [`Content-Disposition: form-data; ${disposition(random, name, undefined, charset)}`];
  if (own && !charset) header.push(`Content-Type: text/plain; charset=${own.label}`);
  else if (!charset && random.chance(0.2)) header.push("Content-Type: text/plain; charset=utf-8");
  const bytes = own ? Buffer.from(own.bytes, "latin1") : Buffer.from(value);
  const { encoding, body } = encodeTransfer(random, bytes);
  if (encoding !== undefined) header.push(`Content-Transfer-Encoding: ${encoding}`);
  return { header, body };
}

/** The parameters, with the quotes of browsers (WHATWG HTML §4.10.22.8), or as quoted strings (RFC 9110 §5.6.4). */
function disposition(
  random: Random,
  name: string,
  filename: string | undefined,
  charset: FormCharset | undefined,
  named?: string,
): string {
  const all = name + (filename ?? "");
  // A backslash that means itself is written in one of the two ways only.
  const isQuotedString = all.includes('"') && !all.includes("\\") && random.chance(0.5);
  const escape = (text: string) =>
    isQuotedString ? text.replaceAll('"', '\\"') : text.replaceAll('"', "%22");
  const encode = (text: string) => `"${text === charset?.name ? charset.bytes : bytesOf(escape(text))}"`;
  const equals = random.chance(0.05) ? " = " : "=";
  return [`name${equals}${encode(name)}`, named ?? (filename !== undefined && `filename=${encode(filename)}`)]
    .filter(Boolean)
    .join("; ");
}

/** A name without what turns text around. */
const kept = (filename: string) => filename.replaceAll(/\p{Bidi_Control}/gu, "");

const lowerName = (line: string) => line.replace(/^[^:]+/, (name) => name.toLowerCase());

const KIB = 1024;

/** Bytes that contain no delimiter, but often almost one. */
function makeBody(random: Random, boundary: string): Buffer {
  const kinds = [
    () => makeBytes(random, random.between(0, 2 * KIB)),
    () => makeBytes(random, random.between(0, 64)),
    () => Buffer.from("\r\n-".repeat(random.between(0, 300)).slice(0, -1)),
    () =>
      Buffer.from(Array.from({ length: random.between(0, 500) }, () => pick(random, ["\r", "\n"])).join("")),
    () => Buffer.from(`\r\n--${boundary.slice(0, -1)}`.repeat(random.between(1, 9)) + "\r\n", "latin1"),
  ] as const;
  if (random.chance(0.002)) return makeBytes(random, random.between(64 * KIB, 600 * KIB));
  // Longer than one part in R2.
  if (random.chance(0.0001)) return makeBytes(random, random.between(5 * KIB, 11 * KIB) * KIB);
  return pick(random, kinds)();
}

export function makeBytes(random: Random, size: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil(size / 4) * 4);
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE(random.between(0, 0xffffffff), i);
  return bytes.subarray(0, size);
}
