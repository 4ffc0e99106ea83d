/** The parts of a body, whatever its chunks; malformed bodies are rejected, and nothing is read too early. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type HeaderLimits, MultipartReader } from "../../../src/files/upload/multipart.ts";
import { Problem } from "../../../src/kernel/problem.ts";

const LIMITS: HeaderLimits = { headers: 20, headerSize: 8 * 1024 };
const KIB = 1024;
const NAMES = ["Content-Disposition", "content-type", "X-1", "!#$%&'*+.^_`|~-"];

interface Part {
  fields: [name: string, value: string][];
  body: string;
}

/** Yields each chunk when it is requested, and overwrites it when the next is: the reader must not keep it. */
function sourceOf(chunks: Iterable<string | Uint8Array>) {
  const seen = { reads: 0, isClosed: false };
  async function* handOut() {
    try {
      for (const chunk of chunks) {
        seen.reads++;
        const bytes = Buffer.from(typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk);
        yield bytes;
        bytes.fill("#");
      }
    } finally {
      seen.isClosed = true;
    }
  }
  return { seen, chunks: handOut() };
}

const readerOf = (chunks: Iterable<string | Uint8Array>, boundary = "b", limits = LIMITS) => {
  const source = sourceOf(chunks);
  return { reader: new MultipartReader(source.chunks, boundary, limits), seen: source.seen };
};

/** The rest of the part. */
async function textOf(reader: MultipartReader): Promise<string> {
  let text = "";
  for await (const bytes of reader.content()) text += Buffer.from(bytes).toString("latin1");
  return text;
}

/** All parts, with the requested header fields. */
async function read(chunks: Iterable<string>, { boundary = "b", names = NAMES, limits = LIMITS } = {}) {
  const { reader } = readerOf(chunks, boundary, limits);
  const parts: Part[] = [];
  for (let header = await reader.next(); header; header = await reader.next()) {
    const fields: Part["fields"] = [];
    for (const name of names) {
      const value = header.get(name);
      if (value !== null) fields.push([name, value]);
    }
    parts.push({ fields, body: await textOf(reader) });
  }
  return parts;
}

/** The bodies of the parts, or the problem that reading ends with. */
const outcome = async (...args: Parameters<typeof read>) =>
  read(...args).then(
    (parts) => parts.map(({ body }) => body),
    (error: unknown) => (error instanceof Problem ? error.kind : error),
  );

/** Splits a text into chunks of these sizes, repeatedly. */
function cut(text: string, sizes: number[]): string[] {
  const chunks: string[] = [];
  for (let i = 0, at = 0; at < text.length; at += sizes[i++ % sizes.length] ?? 1) {
    chunks.push(text.slice(at, at + (sizes[i % sizes.length] ?? 1)));
  }
  return chunks;
}

const write = (parts: Part[], boundary: string, padding = "") =>
  parts
    .map(({ fields, body }) => {
      const header = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      return `--${boundary}${padding}\r\n${header}\r\n${body}\r\n`;
    })
    .join("") + `--${boundary}--`;

describe("random parts", () => {
  const anyOf = (characters: string) => fc.constantFrom(...characters.split(""));
  const boundaries = fc
    .string({ unit: anyOf("abC0-'()+_,./:=? "), minLength: 1, maxLength: 70 })
    .filter((boundary) => !boundary.endsWith(" "));
  const value = fc
    .string({ unit: anyOf('aZ0 \t:;="-,\\\u0080\u00a0\u00ff'), maxLength: 30 })
    .map((text) => text.replaceAll(/^[ \t]+|[ \t]+$/g, ""));
  const fields = fc
    .subarray(NAMES)
    .chain((names) => fc.tuple(...names.map((name) => fc.tuple(fc.constant(name), value))));

  /** Texts made only of what could be mistaken for a boundary. */
  const bodyFor = (boundary: string) =>
    fc
      .array(
        fc.oneof(
          fc.constantFrom("\r", "\n", "-", "--", "\r\n", "\r\n-", "\r\n--", "a", "\0", "\u00ff", boundary),
          fc.nat(boundary.length - 1).map((length) => `\r\n--${boundary.slice(0, length)}`),
        ),
        { maxLength: 20 },
      )
      .map((pieces) => pieces.join(""))
      .filter((body) => !`\r\n${body}`.includes(`\r\n--${boundary}`));

  const forms = boundaries.chain((boundary) =>
    fc.record({
      boundary: fc.constant(boundary),
      parts: fc.array(fc.record<Part>({ fields, body: bodyFor(boundary) }), { maxLength: 5 }),
      padding: fc.constantFrom("", " ", "\t \t"),
      preamble: fc.constantFrom("", "\r\n", "This is\r\nmultipart.\r\n", `x--${boundary}\r\n`),
      epilogue: fc.constantFrom("", "\r\n", `\r\n--${boundary}\r\n`, "- -"),
    }),
  );
  const sizes = fc.oneof(
    fc.constant<number[]>([1]),
    fc.constant<number[]>([1_000_000]),
    fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 }),
  );

  test("are read as they were written, wherever the body is split", async () => {
    await fc.assert(
      fc.asyncProperty(forms, sizes, async ({ boundary, parts, padding, preamble, epilogue }, cuts) => {
        const text = `${preamble}${write(parts, boundary, padding)}${epilogue}`;
        expect(await read(cut(text, cuts), { boundary })).toEqual(parts);
      }),
      { numRuns: 200 },
    );
  });

  test("that are truncated are rejected, wherever that is", async () => {
    const anyPlace = fc.tuple(forms, sizes, fc.nat());
    await fc.assert(
      fc.asyncProperty(anyPlace, async ([{ boundary, parts, padding }, cuts, place]) => {
        const text = write(parts, boundary, padding);
        const broken = text.slice(0, place % text.length);
        expect(await outcome(cut(broken, cuts), { boundary })).toBe("malformed");
      }),
      { numRuns: 100 },
    );
  });
});

/** However the body is split, the result must be the same. */
describe.each([1, 3, 1_000_000])("in chunks of %i bytes", (size) => {
  test.each<[string, string, string[] | string]>([
    ["one part", "--b\r\n\r\nx\r\n--b--\r\n", ["x"]],
    ["no parts", "--b--", []],
    ["nothing", "", "malformed"],
    ["nothing but a preamble", "hello\r\n", "malformed"],
    ["an empty part", "--b\r\n\r\n\r\n--b--", [""]],
    ["empty parts", "--b\r\n\r\n\r\n--b\r\nA: b\r\n\r\n\r\n--b--", ["", ""]],
    ["a part that is an empty line", "--b\r\n\r\n\r\n\r\n--b--", ["\r\n"]],
    ["parts without a body", "--b\r\nA: b\r\n\r\n--b\r\n\r\nx\r\n--b--", ["", "x"]],
    ["spaces after a boundary, as many as allowed", `--b${" ".repeat(128)}\r\n\r\nx\r\n--b--`, ["x"]],
    ["more spaces than allowed", `--b${" ".repeat(129)}\r\n\r\nx\r\n--b--`, "malformed"],
    ["spaces without end", `--b${" ".repeat(100_000)}`, "malformed"],
    ["spaces before the dashes of the last boundary", "--b\r\n\r\nx\r\n--b --", "malformed"],
    ["a preamble", "hello\r\n--b\r\n\r\nx\r\n--b--", ["x"]],
    ["a boundary in the middle of a line", "x--b\r\n--b\r\n\r\nx--b\r\n--b--", ["x--b"]],
    ["a preamble that is long", `${"p".repeat(60 * KIB)}\r\n--b\r\n\r\nx\r\n--b--`, ["x"]],
    ["a preamble that is too long", `${"p".repeat(65 * KIB)}\r\n--b\r\n\r\nx\r\n--b--`, "malformed"],
    ["an epilogue that looks like more parts", "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny\r\n--b--", ["x"]],
    ["a boundary with more text after it", "--b\r\n\r\nx\r\n--bX\r\n\r\ny\r\n--b--", "malformed"],
    ["a first boundary with more text after it", "--bX\r\n\r\nx\r\n--b--", "malformed"],
    ["one dash after the last boundary", "--b\r\n\r\nx\r\n--b-", "malformed"],
    ["no boundary at the end", "--b\r\n\r\nx\r\n", "malformed"],
    ["an end in the middle of the header", "--b\r\nA: b\r\n", "malformed"],
    ["line feeds alone", "--b\n\nx\n--b--\n", "malformed"],
    ["a line feed alone after a boundary", "--b\n\r\nx\r\n--b--", "malformed"],
    ["a line feed alone before a boundary", "--b\r\n\r\nx\n--b\r\n--b--", ["x\n--b"]],
  ])("%s", async (_name, text, expected) => {
    expect(await outcome(cut(text, [size]))).toEqual(expected);
  });

  test.each<[string, string, Part["fields"] | string]>([
    ["a field", "X-1: a\r\n", [["X-1", "a"]]],
    ["a name in lower case", "x-1: a\r\n", [["X-1", "a"]]],
    [
      "no space, or several",
      "X-1:a\r\nX-2: \t a \t\r\n",
      [
        ["X-1", "a"],
        ["X-2", "a"],
      ],
    ],
    ["an empty value", "X-1:\r\n", [["X-1", ""]]],
    ["a colon in the value", "X-1: a:b\r\n", [["X-1", "a:b"]]],
    ["bytes beyond ASCII, also at the ends", "X-1: \u00a0\u00ff\r\n", [["X-1", "\u00a0\u00ff"]]],
    [
      "a value on several lines",
      "X-1: a\r\n b\r\n\tc\r\nX-2: d\r\n",
      [
        ["X-1", "a b\tc"],
        ["X-2", "d"],
      ],
    ],
    ["a continuation line without a line before it", " X-1: a\r\n", "malformed"],
    ["a field twice", "X-1: a\r\nx-1: a\r\n", "malformed"],
    ["a line without a colon", "X-1: a\r\nX-2\r\n", "malformed"],
    ["a field without a name", ": a\r\n", "malformed"],
    ["a space before the colon", "X-1 : a\r\n", "malformed"],
    ["a name beyond ASCII", "X-\u00e9: a\r\n", "malformed"],
    ["a carriage return alone", "X-1: a\rX-2: b\r\n", "malformed"],
    ["a line feed alone", "X-1: a\nX-2: b\r\n", "malformed"],
    ["a NUL character", "X-1: a\0\r\n", "malformed"],
    ["a boundary instead of its end", "X-1: a\r\n--b\r\nX-2: b\r\n", "malformed"],
    ["a boundary instead of the first line", "--b\r\nX-2: b\r\n", "malformed"],
    [
      "three fields, the most",
      "X-1: a\r\nX-2: b\r\nX-3: c\r\n",
      [
        ["X-1", "a"],
        ["X-2", "b"],
        ["X-3", "c"],
      ],
    ],
    ["a field on more lines than that", "X-1: a\r\n b\r\n c\r\n d\r\n", [["X-1", "a b c d"]]],
    ["four fields", "X-1: a\r\nX-2: b\r\nX-3: c\r\nX-4: d\r\n", "too-large"],
    ["as many bytes as allowed", `X-1: ${"a".repeat(93)}\r\n`, [["X-1", "a".repeat(93)]]],
    ["one byte more", `X-1: ${"a".repeat(94)}\r\n`, "too-large"],
    ["bytes without end", "X".repeat(1000), "too-large"],
  ])("a header with %s", async (_name, header, expected) => {
    const limits = { headers: 3, headerSize: 100 };
    const names = ["X-1", "X-2", "X-3"];
    const parts = read(cut(`--b\r\n${header}\r\nx\r\n--b--`, [size]), { names, limits });
    const seen = await parts.then(
      ([part]) => part?.fields,
      (error: unknown) => (error instanceof Problem ? error.kind : error),
    );
    expect(seen).toEqual(expected);
  });

  test("a header that a boundary cuts off is rejected, even if the rest looks like a field", async () => {
    const text = "--a:b\r\nX-1: a\r\n--a:b\r\nX-2: b\r\n\r\nx\r\n--a:b--";
    expect(await outcome(cut(text, [size]), { boundary: "a:b" })).toBe("malformed");
  });
});

describe("a part that is not read, or not to its end", () => {
  const rest = "\r\n--b\r\nX-1: second\r\n\r\ny\r\n--b--";

  test.each([0, 1000, 1_000_000])("is skipped, with %i bytes", async (size) => {
    const { reader } = readerOf(["--b\r\n\r\n", ...cut("x".repeat(size), [10_000]), rest]);
    await reader.next();
    expect((await reader.next())?.get("x-1")).toBe("second");
    expect(await textOf(reader)).toBe("y");
    expect(await reader.next()).toBeUndefined();
  });

  test("continues where its reader stopped", async () => {
    const { reader } = readerOf(["--b\r\n\r\n", "one,", "two,", "three", rest]);
    await reader.next();
    let first = "";
    for await (const bytes of reader.content()) {
      first = Buffer.from(bytes).toString();
      break;
    }
    expect(`${first}${await textOf(reader)}`).toBe("one,two,three");
    expect(await textOf(reader)).toBe("");
    expect((await reader.next())?.get("x-1")).toBe("second");
  });
});

describe("the source", () => {
  const chunk = new Uint8Array(1000);
  const body = (count: number) => ["--b\r\n\r\n", ...Array.from({ length: count }, () => chunk), "\r\n--b--"];

  test("is not read before it is needed, nor further than needed", async () => {
    const { reader, seen } = readerOf(body(50));
    await scheduler.wait(0);
    expect(seen.reads).toBe(0);
    await reader.next();
    await scheduler.wait(0);
    expect(seen.reads).toBe(1);
    let size = 0;
    for await (const bytes of reader.content()) {
      size += bytes.length;
      await scheduler.wait(0);
      // Everything that was read is returned, except what could be the beginning of a boundary.
      expect((seen.reads - 2) * chunk.length).toBeLessThanOrEqual(size);
    }
    expect(size).toBe(50 * chunk.length);
    expect(seen.reads).toBe(52);
  });

  test("is cancelled when the reading is stopped", async () => {
    const { reader, seen } = readerOf(body(50));
    await reader.next();
    expect(seen).toEqual({ reads: 1, isClosed: false });
    await reader.close();
    expect(seen).toEqual({ reads: 1, isClosed: true });
  });

  test("is read to its end after the last part, but at most 64 KiB", async () => {
    const seenAfter = async (epilogue: number) => {
      const { reader, seen } = readerOf([...body(0), ...Array.from({ length: epilogue }, () => chunk)]);
      await reader.next();
      expect(await reader.next()).toBeUndefined();
      return seen;
    };
    expect(await seenAfter(64)).toEqual({ reads: 66, isClosed: true });
    expect(await seenAfter(1000)).toEqual({ reads: 68, isClosed: false });
  });

  test("if it fails, reading fails with the same error", async () => {
    const broken = new Problem("client-gone", "The body broke off.");
    async function* breakOff() {
      yield Buffer.from("--b\r\n\r\nx");
      throw broken;
    }
    const reader = new MultipartReader(breakOff(), "b", LIMITS);
    await reader.next();
    await expect(textOf(reader)).rejects.toBe(broken);
  });

  // An algorithm that does the work of a chunk for each line end would take minutes for such a body.
  test.each(["\0", "\r", "\r\n", "\r\n--", "\r\n--bound", "\r\n--boundarx"])(
    "yields no more pieces than it has chunks, even if they are full of %j",
    async (unit) => {
      const [count, size] = [64, 64 * KIB];
      const dense = Buffer.alloc(size, unit);
      const { reader } = readerOf(
        ["--boundary\r\n\r\n", ...Array.from({ length: count }, () => dense), "\r\n--boundary--"],
        "boundary",
      );
      await reader.next();
      let [pieces, bytes] = [0, 0];
      for await (const piece of reader.content()) {
        pieces++;
        bytes += piece.length;
      }
      expect(bytes).toBe(count * size);
      expect(pieces).toBeLessThanOrEqual(count + 1);
    },
  );
});
