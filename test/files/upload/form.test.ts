/** Reading form data: its content, its limits, and that it is never read faster than it is consumed. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FilePart, FORM_LIMITS, readForm } from "../../../src/files/upload/form.ts";
import {
  FORM_TYPE,
  fieldPart,
  filePart,
  formBody,
  rawForm,
  streamedForm,
  streamOf,
} from "../../support/form.ts";

type Seen =
  | { field: string; filename: string; contentType: string; text: string }
  | { name: string; value: string };

const requestOf = (body: BodyInit | null, type = FORM_TYPE) =>
  new Request("http://localhost/", { method: "POST", body, headers: { "Content-Type": type } });

/** The content of a form, in its order. */
async function read(body: BodyInit | null, type?: string): Promise<Seen[]> {
  const seen: Seen[] = [];
  const slots: { name: string; value: string }[] = [];
  const fields = await readForm(requestOf(body, type), {
    onFile: async ({ chunks, ...about }) => {
      const taken: Uint8Array[] = [];
      for await (const chunk of chunks) taken.push(chunk.slice());
      seen.push({ ...about, text: Buffer.concat(taken).toString() });
    },
    onField: (name) => {
      const slot = { name, value: "" };
      slots.push(slot);
      seen.push(slot);
    },
  });
  for (const [i, slot] of slots.entries()) Object.assign(slot, fields[i]);
  return seen;
}

const textOf = (seen: Seen) => ("text" in seen ? seen.text : seen.value);

/** What reading it throws. */
const refusal = async (body: BodyInit | null, type?: string) =>
  read(body, type).then(
    () => "none",
    (error: { kind: string; detail: string }) => `${error.kind}: ${error.detail}`,
  );

test("fields and files are read in their order", async () => {
  const body = formBody([
    fieldPart("comment", "one\r\ntwo"),
    filePart("hello"),
    fieldPart("comment", ""),
    filePart("", 'name="other"; filename="b.txt"'),
  ]);
  expect(await read(body)).toEqual([
    { name: "comment", value: "one\r\ntwo" },
    { field: "file", filename: "a.txt", contentType: "text/plain", text: "hello" },
    { name: "comment", value: "" },
    { field: "other", filename: "b.txt", contentType: "text/plain", text: "" },
  ]);
});

test("a preamble and an epilogue are ignored", async () => {
  const body = `preamble\r\n${formBody([filePart("hello")])}epilogue${"x".repeat(60_000)}`;
  expect((await read(body)).map(textOf)).toEqual(["hello"]);
  expect(await read(formBody([]))).toEqual([]);
});

test("however the bytes are split, the result is the same", async () => {
  // The letters of the boundary, so that near misses are common.
  const text = fc
    .array(fc.constantFrom("\r", "\n", "\r\n", "-", "--", "----sluice-test-boundary", "\r\n--", "a", "é"), {
      maxLength: 8,
    })
    .map((all) => all.join(""))
    .filter((made) => !made.includes("\r\n------sluice-test-boundary") && !made.startsWith("------sluice"));
  const part = fc.record({ text, isFile: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { minLength: 1, maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 20 }),
      async (parts, sizes) => {
        const made = parts.map((p) => (p.isFile ? filePart(p.text) : fieldPart("f", p.text)));
        const bytes = Buffer.from(formBody(made));
        const cuts: Uint8Array[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          cuts.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect((await read(streamOf(cuts))).map(textOf)).toEqual(parts.map((p) => p.text));
      },
    ),
    { numRuns: 300 },
  );
});

describe("the name of a file", () => {
  test.each([
    ['filename="a.txt"', "a.txt"],
    ["filename=a.txt", "a.txt"],
    ['filename=""', ""],
    ['filename="naïve 😀.pdf"', "naïve 😀.pdf"],
    ['filename="مرحبا.txt"', "مرحبا.txt"],
    ['filename="a;b=c.txt"', "a;b=c.txt"],
    // As browsers write it (WHATWG HTML §4.10.22.8), and nothing but these three is an escape.
    ['filename="say %22hi%22.txt"', 'say "hi".txt'],
    ['filename="a%0D%0Ab"', "a\r\nb"],
    ['filename="100%25 %41.txt"', "100%25 %41.txt"],
    // As older clients write it (RFC 822), for example curl before 7.81.
    ['filename="say \\"hi\\".txt"', 'say "hi".txt'],
    ['filename="AC\\\\DC \\"live\\""', 'AC\\DC "live"'],
    // As browsers on Windows once did: no escapes.
    ['filename="C:\\temp\\report.doc"', "C:\\temp\\report.doc"],
    ['filename="AC\\DC.mp3"', "AC\\DC.mp3"],
    ['filename="ends with \\"', "ends with \\"],
    ["filename*=UTF-8''na%C3%AFve.pdf", "naïve.pdf"],
    ["filename*=utf-8'en'a%20b", "a b"],
    ["filename*=iso-8859-1''%E9", "é"],
    ["filename=\"a.txt\"; filename*=UTF-8''%E2%82%AC", "€"],
    ["filename*=UTF-8''%E2%82%AC; filename=\"a.txt\"", "€"],
    ["filename=\"a.txt\"; filename*=UTF-8''%FF", "a.txt"],
    ['filename="a.txt"; filename*=nonsense', "a.txt"],
    ["filename=\"a.txt\"; filename*=utf-16''%00", "a.txt"],
    ['FILENAME="a.txt"', "a.txt"],
  ])("%s is %j", async (parameters, filename) => {
    expect(await read(formBody([filePart("x", `name="file"; ${parameters}`)]))).toMatchObject([{ filename }]);
  });

  test("can be a quoted string, with anything escaped in it", async () => {
    expect(await read(formBody([filePart("x", 'name="file"; filename="a\\";b.txt"')]))).toMatchObject([
      { field: "file", filename: 'a";b.txt' },
    ]);
  });

  test.each(["__proto__", "constructor", "", 'a"b', "é", "a\r\nb"])(
    "of its field can be %j",
    async (name) => {
      const sent = name.replaceAll('"', "%22").replace("\r\n", "%0D%0A");
      expect(await read(formBody([fieldPart(sent, "1")]))).toEqual([{ name, value: "1" }]);
    },
  );
});

test.each([
  [
    "a file without a name, by its type",
    'name="file"',
    "application/octet-stream",
    { filename: "", text: "x" },
  ],
  [
    "the type as it is, parameters and all",
    'name="f"; filename="a"',
    "Text/HTML; charset=x",
    { contentType: "Text/HTML; charset=x" },
  ],
  ["a field with a type", 'name="f"', "application/json", { name: "f", value: "x" }],
])("%s", async (_name, disposition, type, seen) => {
  expect(await read(formBody([{ disposition, type, body: "x" }]))).toMatchObject([seen]);
});

const DISPOSITION = 'Content-Disposition: form-data; name="f"';
const headerOf = (bytes: number) => [DISPOSITION, `X-Pad: ${"x".repeat(bytes - DISPOSITION.length - 11)}`];
const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));

describe("a form up to its limits is accepted; beyond them the problem names the limit", () => {
  test.each<[string, string, string, string]>([
    [
      "parts",
      formBody(many(FORM_LIMITS.parts, () => fieldPart("f", "1"))),
      formBody(many(FORM_LIMITS.parts + 1, () => fieldPart("f", "1"))),
      "more than 200 parts",
    ],
    [
      "files",
      formBody(many(FORM_LIMITS.files, () => filePart("x"))),
      formBody(many(FORM_LIMITS.files + 1, () => filePart("x"))),
      "more than 100 files",
    ],
    [
      "header fields",
      rawForm([DISPOSITION, ...many(FORM_LIMITS.headers - 1, (i) => `X-${i}: 1`)], "x"),
      rawForm([DISPOSITION, ...many(FORM_LIMITS.headers, (i) => `X-${i}: 1`)], "x"),
      "The header of a part has more than 20 fields.",
    ],
    [
      "header size",
      rawForm(headerOf(FORM_LIMITS.headerSize), "x"),
      rawForm(headerOf(FORM_LIMITS.headerSize + 1), "x"),
      "The header of a part has more than 8192 bytes.",
    ],
    [
      "header size, by far",
      rawForm(headerOf(FORM_LIMITS.headerSize), "x"),
      rawForm([`X-Pad: ${"x".repeat(200_000)}`, DISPOSITION], "x"),
      "The header of a part has more than 8192 bytes.",
    ],
    [
      "field name, in bytes",
      formBody([fieldPart("é".repeat(FORM_LIMITS.fieldNameSize / 2), "x")]),
      formBody([fieldPart(`${"é".repeat(FORM_LIMITS.fieldNameSize / 2)}x`, "x")]),
      "a field whose name is longer than 256 bytes",
    ],
    [
      "field size",
      formBody([fieldPart("f", "x".repeat(FORM_LIMITS.fieldSize))]),
      formBody([fieldPart("f", "x".repeat(FORM_LIMITS.fieldSize + 1))]),
      'more than 65536 bytes in the field "f"',
    ],
  ])("%s", async (_name, within, beyond, detail) => {
    expect((await read(within)).length).toBeGreaterThan(0);
    expect(await refusal(beyond)).toBe(
      detail.startsWith("The ") ? `too-large: ${detail}` : `too-large: The form has ${detail}.`,
    );
  });

  test("a header is too large even if it is not valid", async () => {
    const pad = "x".repeat(FORM_LIMITS.headerSize);
    expect(await refusal(rawForm([DISPOSITION, pad], "x"))).toMatch(/^(too-large|malformed): /);
  });
});

const GOOD = formBody([filePart("hello")]);

describe("a form that cannot be parsed is malformed", () => {
  test.each<[string, BodyInit | null]>([
    ["no body", null],
    ["an empty body", ""],
    ["a body that is not a form", "hello"],
    ["cut inside a file", GOOD.slice(0, GOOD.indexOf("hello") + 3)],
    ["cut inside a field", formBody([fieldPart("f", "hello")], "").slice(0, -5)],
    ["cut inside a header", GOOD.slice(0, 60)],
    ["cut inside the last boundary", GOOD.slice(0, -6)],
    ["without its last boundary", formBody([filePart("hello")], "")],
    [
      "cut after the first part, by the second one's boundary",
      `${formBody([filePart("a")], "")}------sluice`,
    ],
    ["bare line feeds", GOOD.replaceAll("\r\n", "\n")],
    ["a part without a header", rawForm([], "x")],
    ["a part whose header does not end before the next boundary", GOOD.replace("\r\n\r\nhello", "\r\nhello")],
    ["a part without Content-Disposition", rawForm(["Content-Type: text/plain"], "x")],
    ["a part with two of them", rawForm([DISPOSITION, DISPOSITION], "x")],
    ["a part with two of them, in other letters", rawForm([DISPOSITION, DISPOSITION.toUpperCase()], "x")],
    ["a part with two types", rawForm([DISPOSITION, "Content-Type: a/b", "content-type: a/b"], "x")],
    [
      "a part with two transfer encodings",
      rawForm([DISPOSITION, ...Array(2).fill("Content-Transfer-Encoding: binary")], "x"),
    ],
    ["a part that is an attachment", rawForm(['Content-Disposition: attachment; name="f"'], "x")],
  ])("%s", async (_name, body) => {
    expect(await refusal(body)).toMatch(/^malformed: /);
  });
});

describe("its Content-Type", () => {
  test.each([
    [FORM_TYPE, "none"],
    [FORM_TYPE.replace(/=(.*)/, '="$1"'), "none"],
    [FORM_TYPE.replace("multipart", "Multipart"), "none"],
    [`${FORM_TYPE}; charset=utf-8`, "none"],
    ["", "unsupported-media"],
    ["application/json", "unsupported-media"],
    ["application/x-www-form-urlencoded", "unsupported-media"],
    ["multipart/mixed; boundary=x", "unsupported-media"],
    [FORM_TYPE.replace("form-data", "form-data-x"), "unsupported-media"],
    ["multipart/form-data", "malformed"],
    ["multipart/form-data; boundary=", "malformed"],
    ['multipart/form-data; boundary=""', "malformed"],
    [`multipart/form-data; boundary=${"x".repeat(71)}`, "malformed"],
    ['multipart/form-data; boundary="x ', "malformed"],
    ['multipart/form-data; boundary="ends with a blank "', "malformed"],
    ["multipart/form-data; boundary=other", "malformed"],
    ["multipart/form-data; boundary=; boundary=x", "malformed"],
    [`${FORM_TYPE}; boundary=x`, "malformed"],
    [`multipart/form-data; boundary=x; Boundary=${FORM_TYPE.slice(30)}`, "malformed"],
    [`${FORM_TYPE}, ${FORM_TYPE}`, "malformed"],
    ['multipart/form-data; boundary="a\\"b"', "malformed"],
    ["multipart/form-data; boundary=a\tb", "malformed"],
    ["multipart/form-data; boundary=é", "malformed"],
    [`${FORM_TYPE}; x="; boundary=y"`, "none"],
    ['multipart/form-data; a="b; boundary=x; c=d"', "malformed"],
  ])("%s: %s", async (type, kind) => {
    expect(await refusal(GOOD, type)).toMatch(new RegExp(`^${kind}`));
  });
});

describe("a boundary of any characters", () => {
  test.each([
    "*****",
    "*",
    "---------------------------7d159c1302d0y0",
    "{}",
    "a/b:c?d=e",
    "=_Part_1",
    "@#$%^&",
    "a b",
    "--",
  ])("%s", async (boundary) => {
    const form = `--${boundary}\r\n${DISPOSITION}\r\n\r\nvalue\r\n--${boundary}--\r\n`;
    expect(await read(form, `multipart/form-data; boundary="${boundary}"`)).toEqual([
      { name: "f", value: "value" },
    ]);
    expect(await read(form, `multipart/form-data; boundary=${boundary}`)).toEqual([
      { name: "f", value: "value" },
    ]);
  });
});

/** Reads a form whose files are handled by `onFile`; returns how much of the body had been read by then. */
function watched(
  body: (onPull: (handedOut: number) => void) => BodyInit,
  onFile: (part: FilePart) => Promise<void>,
) {
  const seen = { handedOut: 0 };
  const stream = body((handedOut) => {
    seen.handedOut = handedOut;
  });
  return { seen, done: readForm(requestOf(stream), { onFile, onField: () => {} }) };
}

const MIB = 1024 * 1024;
const CHUNK = new Uint8Array(64 * 1024);

test("no more is read than is consumed: back-pressure", async () => {
  let taken = 0;
  let ahead = 0;
  const { seen, done } = watched(
    (onPull) => streamedForm(CHUNK, 256, onPull),
    async ({ chunks }) => {
      for await (const chunk of chunks) {
        // Enough time for a reader that reads ahead.
        await scheduler.wait(1);
        ahead = Math.max(ahead, seen.handedOut - taken);
        taken += chunk.length;
      }
    },
  );
  await done;
  expect(taken).toBe(16 * MIB);
  expect(ahead).toBeGreaterThan(0);
  expect(ahead).toBeLessThan(MIB);
});

test("a rejected file ends the reading, and the rest is not read", async () => {
  const { seen, done } = watched(
    (onPull) => streamedForm(CHUNK, 256, onPull),
    async ({ chunks }) => {
      for await (const chunk of chunks) if (chunk.length > 0) throw new RangeError("not wanted");
    },
  );
  await expect(done).rejects.toThrow("not wanted");
  expect(seen.handedOut).toBeLessThan(2 * MIB);
});

test("a client that keeps sending after the end is cut off", async () => {
  const end = Buffer.from(GOOD);
  const { seen, done } = watched(
    (onPull) => streamOf([end, ...many(256, () => CHUNK)], onPull),
    async ({ chunks }) => {
      for await (const chunk of chunks) if (chunk.length === 0) return;
    },
  );
  await done;
  expect(seen.handedOut).toBeLessThan(2 * MIB);
});

test("files are handled one after the other", async () => {
  const order: string[] = [];
  let name = 0;
  await readForm(requestOf(formBody([filePart("a"), filePart("b"), filePart("c")])), {
    onFile: async ({ chunks }) => {
      const own = name++;
      order.push(`begin ${own}`);
      for await (const chunk of chunks) if (chunk.length === 0) return;
      await scheduler.wait(5);
      order.push(`end ${own}`);
    },
    onField: () => {},
  });
  expect(order).toEqual([0, 1, 2].flatMap((i) => [`begin ${i}`, `end ${i}`]));
});

test("when the client breaks off, both the reader of the file and the reader of the form get the problem", async () => {
  let problem: unknown;
  const body = streamedForm(CHUNK, 8, (handedOut) => {
    if (handedOut > 4 * CHUNK.length) throw new Error("the connection is reset");
  });
  const done = readForm(requestOf(body), {
    onFile: async ({ chunks }) => {
      try {
        for await (const chunk of chunks) if (chunk.length === 0) return;
      } catch (error) {
        problem = error;
        throw error;
      }
    },
    onField: () => {},
  });
  await expect(done).rejects.toMatchObject({ name: "Problem", status: 400 });
  expect(problem).toMatchObject({ name: "Problem", status: 400 });
});
