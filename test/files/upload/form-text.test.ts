/** Text of forms: it is read in the charset that the form says, or rejected, and never kept damaged. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { isText } from "../../../src/files/upload/form-text.ts";
import { fetchText, postForm } from "../../support/files.ts";
import { FORM_TYPE, filePart, formBody, type Part } from "../../support/form.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { NOTHING, whatIsLeft } from "../../support/stored.ts";

keepQuiet();
beforeEach(() => reset());

/** A form whose characters are its bytes. */
const send = (parts: Part[]) => postForm("/files", Buffer.from(formBody(parts), "latin1"));

const charset = (body: string): Part => ({ disposition: 'name="_charset_"', body });
const field = (body: string, type?: string): Part => ({
  disposition: 'name="a"',
  body,
  ...(type !== undefined && { type }),
});

/** The value of the field `a`, or the status and detail of the rejection. */
async function valueOf(...parts: Part[]): Promise<unknown> {
  const { status, body } = await send(parts);
  if (status !== 201) {
    expect(await whatIsLeft()).toEqual(NOTHING);
    return `${status} ${String(body.detail)}`;
  }
  const fields = body.fields as { name: string; value: string }[];
  return fields.find(({ name }) => name === "a")?.value;
}

const utf8 = (text: string) => Buffer.from(text).toString("latin1");
const utf16 = (text: string) => Buffer.from(text, "utf16le").toString("latin1");

describe("a field is read", () => {
  test.each<[string, Part[], string]>([
    ["as UTF-8", [field(utf8("é €"))], "é €"],
    ["as UTF-8, which its type says", [field(utf8("é"), "text/plain; charset=UTF-8")], "é"],
    ["as UTF-8, with its byte order mark", [field(utf8("\ufeffé"))], "\ufeffé"],
    ["in the charset of its type", [field("caf\xe9", "text/plain; charset=iso-8859-1")], "café"],
    ["in the charset of its type, quoted", [field("caf\xe9", 'text/plain; charset="ISO-8859-1"')], "café"],
    // WHATWG Encoding §4.2: the label iso-8859-1 means windows-1252.
    ["in windows-1252", [field("\x80 \x93x\x94", "text/plain; charset=windows-1252")], "€ “x”"],
    ["in ISO-8859-15", [field("\xa4", "text/plain; charset=iso-8859-15")], "€"],
    ["in Shift_JIS", [field("\x83\x5c", "text/plain; charset=shift_jis")], "ソ"],
    ["in GBK", [field("\xc4\xe3", "text/plain; charset=gbk")], "你"],
    ["in KOI8-R", [field("\xc4\xc1", "text/plain; charset=koi8-r")], "да"],
    ["in UTF-16", [field(utf16("é€"), "text/plain; charset=utf-16le")], "é€"],
    ["in UTF-16 with a byte order mark", [field(utf16("\ufeffé"), "text/plain; charset=utf-16")], "é"],
    ["in UTF-16 the other way round", [field("\xfe\xff\x00\xe9", "text/plain; charset=UTF-16")], "é"],
    ["in UTF-16 by another name", [field("\xfe\xff\x00\xe9", 'text/plain; charset="unicode"')], "é"],
    ["in UTF-16 that is short", [field("", "text/plain; charset=utf-16")], ""],
    ["in US-ASCII", [field("x", "text/plain; charset=us-ascii")], "x"],
    // Clients that say so for all their text.
    ["as UTF-8 if it is no US-ASCII after all", [field(utf8("é"), "text/plain; charset=US-ASCII")], "é"],
    ["as if it had no type if that is empty", [field(utf8("é"), "")], "é"],
    ["in the charset of the form", [charset("ISO-8859-1"), field("caf\xe9")], "café"],
    ["in the charset of the form, which comes last", [field("caf\xe9"), charset("windows-1252")], "café"],
    [
      "in its own charset before that of the form",
      [charset("windows-1252"), field(utf8("é"), "text/plain; charset=utf-8")],
      "é",
    ],
    [
      "in the charset of the form if its type says none",
      [charset("latin1"), field("\xe9", "text/plain")],
      "é",
    ],
    [
      "as UTF-8 if it is JSON, which always is",
      [charset("latin1"), field(utf8('"é"'), "application/json")],
      '"é"',
    ],
    ["as UTF-8 if the form says so", [charset(" utf-8 "), field(utf8("é"))], "é"],
    ["as UTF-8 if the charset of the form was left empty", [charset(""), field(utf8("é"))], "é"],
    ["if the form says its charset twice", [charset("latin1"), charset("iso-8859-1"), field("\xe9")], "é"],
  ])("%s", async (_name, parts, value) => {
    expect(await valueOf(...parts)).toBe(value);
  });
});

describe("a field is rejected that", () => {
  test.each<[string, Part[], number, string]>([
    ["is not UTF-8", [field("caf\xe9")], 400, 'the field "a" is not in utf-8'],
    ["is half a character", [field(utf8("é").slice(0, 1))], 400, "not in utf-8"],
    ["has surrogates in UTF-8", [field("\xed\xa0\x80")], 400, "not in utf-8"],
    ["is not UTF-8, although it says so", [field("\xe9", "text/plain; charset=utf-8")], 400, "not in utf-8"],
    ["is JSON and not UTF-8", [charset("latin1"), field('"\xe9"', "application/json")], 400, "not in utf-8"],
    [
      "is not in the charset it says",
      [field("\x83", "text/plain; charset=shift_jis")],
      400,
      "not in shift_jis",
    ],
    ["is neither US-ASCII nor UTF-8", [field("\xe9", "text/plain; charset=us-ascii")], 400, "not in utf-8"],
    ["is half of UTF-16", [field("\xfe\xff\x00", "text/plain; charset=utf-16")], 400, "not in utf-16be"],
    ["is in a charset that nobody knows", [field("x", "text/plain; charset=ebcdic-1")], 415, '"ebcdic-1"'],
    ["is in a form of such a charset", [charset("x-unknown"), field("x")], 415, '"x-unknown"'],
    ["is in a form that says UTF-16", [charset("utf-16"), field("x")], 415, '"utf-16"'],
    [
      "is in a form with two charsets",
      [charset("latin1"), charset("koi8-r"), field("x")],
      400,
      "two charsets",
    ],
    ["is an image", [field("\x89PNG", "image/png")], 422, 'The file in the field "a" has no name'],
    ["is of no known kind", [field("x", "application/zip")], 422, "has no name"],
    ["has a type that is none", [field("x", "image")], 422, "has no name"],
    ["is a form in the form", [field("--x\r\n", "multipart/mixed; boundary=x")], 422, "has no name"],
  ])("%s", async (_name, parts, status, detail) => {
    const got = await valueOf(...parts, filePart("kept?"));
    expect(got).toMatch(new RegExp(`^${status} `));
    expect(got).toContain(detail);
  });
});

describe("the charset of the request's Content-Type", () => {
  const sendIn = async (type: string, parts: Part[]) => {
    const headers = { "Content-Type": `${FORM_TYPE}; ${type}` };
    const { status, body } = await postForm("/files", Buffer.from(formBody(parts), "latin1"), { headers });
    return [status, body.fields ?? body.detail];
  };
  const fields = (value: string) => expect.arrayContaining([{ name: "a", value }]);

  test.each<[string, Part[], string]>([
    ["charset=iso-8859-1", [field("caf\xe9")], "café"],
    ['Charset="Shift_JIS"', [field("\x83\x5c")], "ソ"],
    // Its bytes would be UTF-8 too.
    ["charset=iso-2022-jp", [field("\x1b$BF|\x1b(B")], "日"],
    ["charset=utf-8", [field(utf8("é"))], "é"],
    ["charset=", [field(utf8("é"))], "é"],
    ["charset=iso-8859-1", [field(utf8("é"), "text/plain; charset=utf-8")], "é"],
    ["charset=iso-8859-1", [charset("latin1"), field("\xe9")], "é"],
  ])("%s is that of its text, unless a field says another", async (type, parts, value) => {
    expect(await sendIn(type, parts)).toEqual([201, fields(value)]);
  });

  test("is that of its names too, from the first one on", async () => {
    expect(await sendIn("charset=iso-8859-1", [{ disposition: 'name="\xe9"', body: "x" }])).toEqual([
      201,
      [{ name: "é", value: "x" }],
    ]);
  });

  test.each<[string, Part[], number, string]>([
    ["charset=nonsense", [field("x")], 415, '"nonsense"'],
    ["charset=utf-16", [field("x")], 415, '"utf-16"'],
    ["charset=utf-8", [charset("latin1"), field("x")], 400, "two charsets"],
    ["charset=shift_jis", [field("\x83")], 400, "not in shift_jis"],
  ])("%s is rejected if it is not known, or not the only one", async (type, parts, status, detail) => {
    expect(await sendIn(type, parts)).toEqual([status, expect.stringContaining(detail)]);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });
});

test("a file with a name is stored whatever its type, and its bytes stay as they are", async () => {
  for (const type of ["image/png", "text/plain; charset=iso-8859-1", "text/plain"]) {
    const part = { disposition: 'name="f"; filename="a.bin"', type, body: "caf\xe9" };
    const { status, body } = await send([charset("windows-1252"), part]);
    const [file] = body.files as { url: string; size: number; contentType: string }[];
    expect([status, file?.size, file?.contentType]).toEqual([201, 4, type]);
  }
});

test("a file without a name is rejected, whatever its type; one without bytes is an input that was left empty", async () => {
  for (const type of ["image/png", "application/octet-stream", "made/up"]) {
    const part = { disposition: 'name="f"', type, body: "x" };
    expect((await send([part])).status).toBe(422);
    const { status, body } = await send([{ ...part, body: "" }]);
    expect([status, body.files]).toEqual([201, []]);
  }
  expect(await whatIsLeft()).toEqual(NOTHING);
});

describe("names", () => {
  const named = (name: string, filename: string): Part =>
    filePart("x", `name="${name}"; filename="${filename}"`);
  const names = async (...parts: Part[]) => {
    const { status, body } = await send(parts);
    if (status !== 201) return `${status} ${String(body.detail)}`;
    return (body.files as { field: string; filename: string }[]).map(({ field: f, filename }) => [
      f,
      filename,
    ]);
  };

  test("are UTF-8", async () => {
    expect(await names(named(utf8("é"), utf8("日本.txt")))).toEqual([["é", "日本.txt"]]);
  });

  test("are in the charset of the form, from there on", async () => {
    expect(await names(charset("iso-8859-1"), named("\xe9", "caf\xe9.txt"))).toEqual([["é", "café.txt"]]);
    // In Shift_JIS, the second byte of a character can be that of a backslash.
    expect(await names(charset("shift_jis"), named("f", "\x83\x5c.txt"))).toEqual([["f", "ソ.txt"]]);
  });

  test("that are in neither are rejected, and the problem says what to do", async () => {
    const rejected = await names(filePart("kept?"), named("f", "caf\xe9.txt"), charset("iso-8859-1"));
    expect(rejected).toMatch(/^400 .* not in utf-8; name their charset in a field _charset_ before it\./);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("in filename* have a charset of their own", async () => {
    expect(await names(filePart("x", "name=\"f\"; filename*=iso-8859-1''caf%E9.txt"))).toEqual([
      ["f", "café.txt"],
    ]);
  });
});

test.each([
  [null, true],
  ["text/plain", true],
  ["Text/Anything; charset=x", true],
  ["application/json", true],
  ["application/ld+json", true],
  ["application/problem+xml; charset=x", true],
  // As Android code gives it to each of its fields.
  ["multipart/form-data", true],
  ["application/octet-stream", false],
  ["image/svg", false],
  ["image/png", false],
  ["application/pdf", false],
  ["multipart/mixed; boundary=x", false],
  ["text", false],
  ["", false],
])("is %j the type of a field? %s", (type, expected) => {
  expect(isText(type)).toBe(expected);
});

test("a text file keeps its charset, and UTF-8 is said only of text that says none", async () => {
  for (const [type, served] of [
    ["text/plain; charset=iso-8859-1", "text/plain; charset=iso-8859-1"],
    ["text/plain;charset=utf-16", "text/plain; charset=utf-16"],
    ["text/plain", "text/plain; charset=utf-8"],
    ["text/csv; header=absent", "text/csv; header=absent; charset=utf-8"],
    ["application/json", "application/json"],
  ] as const) {
    const { body } = await postForm("/upload-file", formBody([{ ...filePart("x"), type }]));
    expect((await fetchText(body.url)).headers.get("Content-Type")).toBe(served);
  }
});
