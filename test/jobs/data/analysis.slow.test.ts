import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { TextBytes } from "../../../src/jobs/data/text-bytes.ts";
import { analyzeBytes, checkpointKeeper, memorySource, toBytes } from "../../support/analysis.ts";

const utf16le = (text: string) => new Uint8Array(Buffer.from(text, "utf16le"));
const utf16be = (text: string) => new Uint8Array(Buffer.from(text, "utf16le").swap16());
const latin1 = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));

/** What a column is, in short. */
async function look(data: string | Uint8Array, input = {}) {
  const { rows, malformed, columns, format } = await analyzeBytes(data, { input });
  const short = Object.fromEntries(
    columns.map(({ name, type, min, max, nulls }) => [name, [type, min, max, nulls]]),
  );
  return { rows, bad: malformed.listed.map(({ row, line, reason }) => [row, line, reason]), short, format };
}

describe("the quirks of CSV", () => {
  test.each<{
    what: string;
    data: string | Uint8Array;
    input?: object;
    rows: number;
    bad?: unknown[];
    short: object;
  }>([
    { what: "an empty file", data: "", rows: 0, short: {} },
    { what: "nothing but line ends", data: "\r\n\n\n", rows: 0, short: {} },
    {
      what: "a header only",
      data: "a,b",
      rows: 0,
      short: { a: ["empty", null, null, 0], b: ["empty", null, null, 0] },
    },
    {
      what: "no header",
      data: "1,x\n2,y\n",
      rows: 2,
      short: { column_1: ["integer", 1, 2, 0], column_2: ["text", "x", "y", 0] },
    },
    {
      what: "a header that is given",
      data: "1,2\n3,4",
      input: { header: true },
      rows: 1,
      short: { "1": ["integer", 3, 3, 0], "2": ["integer", 4, 4, 0] },
    },
    {
      what: "names that are empty or come twice",
      data: "a,,a,a_2\n1,2,3,4",
      rows: 1,
      short: {
        a: ["integer", 1, 1, 0],
        column_2: ["integer", 2, 2, 0],
        a_3: ["integer", 3, 3, 0],
        a_2: ["integer", 4, 4, 0],
      },
    },
    {
      what: "quotes, delimiters and line ends in fields",
      data: 'a,b\r\n"x, ""y""","1\r\n2"\r\n',
      rows: 1,
      short: { a: ["text", 'x, "y"', 'x, "y"', 0], b: ["text", "1\r\n2", "1\r\n2", 0] },
    },
    {
      what: "a quote within a field",
      data: 'a,b\n5" pipe,1\n',
      rows: 1,
      short: { a: ["text", '5" pipe', '5" pipe', 0], b: ["integer", 1, 1, 0] },
    },
    {
      what: "single quotes",
      data: "a,b\n'x, 1',2\n'y, 2',3\n'z',4\n",
      rows: 3,
      short: { a: ["text", "x, 1", "z", 0], b: ["integer", 2, 4, 0] },
    },
    {
      what: "a UTF-8 mark",
      data: `\ufeffa;b\n1;é\n`,
      rows: 1,
      short: { a: ["integer", 1, 1, 0], b: ["text", "é", "é", 0] },
    },
    {
      what: "a UTF-8 mark before a quoted name",
      data: '\ufeff"a, the first","b"\r\n"1","2"\r\n',
      rows: 1,
      short: { "a, the first": ["integer", 1, 1, 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "line ends of all kinds",
      data: "a,b\r\n1,2\n3,4\r\n5,6",
      rows: 3,
      short: { a: ["integer", 1, 5, 0], b: ["integer", 2, 6, 0] },
    },
    {
      what: "line ends in quotes, where CR alone ends rows",
      data: 'a,b\r"1\r2",x\r3,y\r',
      rows: 2,
      short: { a: ["mixed", null, null, 0], b: ["text", "x", "y", 0] },
    },
    {
      what: "Excel's line of the separator, in UTF-16",
      data: utf16le("\ufeffsep=\t\r\na\tb\r\n1\t2\r\n"),
      rows: 1,
      short: { a: ["integer", 1, 1, 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "UTF-16, big end first, with a mark and semicolons",
      data: utf16be("\ufeffname;n\nZo\u00eb;1,5\n"),
      rows: 1,
      short: { name: ["text", "Zo\u00eb", "Zo\u00eb", 0], n: ["decimal", 1.5, 1.5, 0] },
    },
    {
      what: "a file that is filled up with NUL bytes",
      data: `a,b\n1,2\n${"\0".repeat(100)}`,
      rows: 2,
      bad: [[2, 3, "too_few_fields"]],
      short: { a: ["integer", 1, 1, 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "fields that are empty or white space",
      data: "a,b\n,\n , \n",
      rows: 2,
      short: { a: ["empty", null, null, 2], b: ["empty", null, null, 2] },
    },
    {
      what: "Latin-1",
      data: latin1("name,n\nMüller,1\n"),
      rows: 1,
      short: { name: ["text", "Müller", "Müller", 0], n: ["integer", 1, 1, 0] },
    },
    {
      what: "Windows-1252",
      data: new Uint8Array([...latin1("p\n"), 0x80, 0x35, 10]),
      rows: 1,
      short: { p: ["text", "€5", "€5", 0] },
    },
    {
      what: "Latin-1 far behind ASCII",
      data: latin1(`name\n${"abc\n".repeat(400_000)}zoé\n`),
      rows: 400_001,
      short: { name: ["text", "abc", "zoé", 0] },
    },
    {
      what: "UTF-16, little end first",
      data: utf16le("\ufeffa,b\n1,日本😀\n"),
      rows: 1,
      short: { a: ["integer", 1, 1, 0], b: ["text", "日本😀", "日本😀", 0] },
    },
    {
      what: "UTF-16, big end first, without a mark",
      data: utf16be("city,b\nRome,2\n"),
      rows: 1,
      short: { city: ["text", "Rome", "Rome", 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "rows that are too short or too long",
      data: "a,b\n1,2\n3\n4,5,6\n7,8\n",
      rows: 4,
      bad: [
        [2, 3, "too_few_fields"],
        [3, 4, "too_many_fields"],
      ],
      short: { a: ["integer", 1, 7, 0], b: ["integer", 2, 8, 0] },
    },
    {
      what: "a delimiter at the end of each row",
      data: "a,b\n1,2,\n3,4,\n",
      rows: 2,
      short: { a: ["integer", 1, 3, 0], b: ["integer", 2, 4, 0] },
    },
    {
      what: "CR alone",
      data: "a,b\r1,2\r3,4\r",
      rows: 2,
      short: { a: ["integer", 1, 3, 0], b: ["integer", 2, 4, 0] },
    },
    {
      what: "NUL bytes",
      data: "a,b\nx\0y,1\n",
      rows: 1,
      short: { a: ["text", "x␀y", "x␀y", 0], b: ["integer", 1, 1, 0] },
    },
    {
      what: "tabs",
      data: "a\tb\n1,5\t2\n",
      rows: 1,
      short: { a: ["decimal", 1.5, 1.5, 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "decimal commas behind semicolons",
      data: "a;b\n1.234,5;x\n-2,25;y\n",
      rows: 2,
      short: { a: ["decimal", -2.25, 1234.5, 0], b: ["text", "x", "y", 0] },
    },
    {
      what: "groups of digits",
      data: 'a,b\n"1,234.5",x\n"12,345,678",y\n',
      rows: 2,
      short: { a: ["decimal", 1234.5, 12345678, 0], b: ["text", "x", "y", 0] },
    },
    {
      what: "Excel's line of the separator",
      data: "sep=;\r\na;b\r\n1;2\r\n3\r\n",
      rows: 2,
      bad: [[2, 4, "too_few_fields"]],
      short: { a: ["integer", 1, 1, 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "leading zeros, plus signs and numbers that are too large",
      data: "zip,phone,big\n01234,+4930,1e400\n",
      rows: 1,
      short: {
        zip: ["text", "01234", "01234", 0],
        phone: ["text", "+4930", "+4930", 0],
        big: ["text", "1e400", "1e400", 0],
      },
    },
    {
      what: "texts for no value",
      data: "a,b,c\n1,NULL,NaN\n2,3,\n,,\n",
      rows: 3,
      short: { a: ["integer", 1, 2, 1], b: ["integer", 3, 3, 2], c: ["empty", null, null, 3] },
    },
    {
      what: "dates, times and booleans",
      data: "d,t,b\n2024-02-29,2024-01-01T12:00:00+02:00,true\n2023/12/31,2024-01-01 11:30Z,FALSE\n",
      rows: 2,
      short: {
        d: ["date", "2023-12-31", "2024-02-29", 0],
        t: ["datetime", "2024-01-01T10:00:00.000Z", "2024-01-01T11:30:00.000Z", 0],
        b: ["boolean", null, null, 0],
      },
    },
    { what: "kinds that are mixed", data: "a\n1\nx\n2\n", rows: 3, short: { a: ["mixed", null, null, 0] } },
    {
      what: "text behind a closing quote",
      data: 'a,b\n"x"y,1\nz,2\n',
      rows: 2,
      bad: [[1, 2, "text_after_quote"]],
      short: { a: ["text", "z", "z", 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "a quote that is not closed, at the end",
      data: 'a,b\n1,2\n3,"x\n5,6\n7,8\n',
      rows: 4,
      bad: [[2, 3, "unclosed_quote"]],
      short: { a: ["integer", 1, 7, 0], b: ["integer", 2, 8, 0] },
    },
    {
      what: "no line end at the end",
      data: 'a,b\n1,"2"',
      rows: 1,
      short: { a: ["integer", 1, 1, 0], b: ["integer", 2, 2, 0] },
    },
    {
      what: "blank lines between rows",
      data: "a,b\n\n1,2\n\r\n3,4\n",
      rows: 2,
      short: { a: ["integer", 1, 3, 0], b: ["integer", 2, 4, 0] },
    },
    {
      what: "no quotes, as given",
      data: 'a,b\n"x,1\n',
      input: { quote: "" },
      rows: 1,
      short: { a: ["text", '"x', '"x', 0], b: ["integer", 1, 1, 0] },
    },
  ])("$what", async ({ data, input, rows, bad = [], short }) => {
    expect(await look(data, input)).toMatchObject({ rows, bad, short });
  });

  test("what was found out is in the result, so that a wrong guess can be seen and corrected", async () => {
    const { format } = await look("sep=;\na;b\n1,5;2\n");
    expect(format).toEqual({
      type: "csv",
      compression: null,
      charset: "utf-8",
      delimiter: ";",
      quote: '"',
      header: true,
      decimal: ",",
      lineEnd: "LF",
      nulls: ["NULL", "null", "NaN", "nan", "N/A", "#N/A", "\\N"],
    });
  });

  test("10,000 columns", async () => {
    const header = Array.from({ length: 10_000 }, (_, i) => `c${i}`).join();
    const row = Array.from({ length: 10_000 }, (_, i) => i).join();
    const { columnCount, columns, precision } = await analyzeBytes(`${header}\n${row}\n${row}\n`);
    expect(columnCount).toBe(10_000);
    expect(columns[9_999]).toMatchObject({ name: "c9999", type: "integer", min: 9_999, nulls: 0 });
    expect(precision.distinctError).toBe(null);
  });

  test("a row beyond the longest is malformed, and those after it are read", async () => {
    const long = "x".repeat(3_000_000);
    const { rows, malformed, columns } = await analyzeBytes(`a,b\n1,2\n${long},3\n4,5\n`, {
      chunkBytes: 65_536,
    });
    expect(rows).toBe(3);
    expect(malformed.listed).toMatchObject([{ row: 2, line: 3, reason: "too_long" }]);
    expect(columns[1]).toMatchObject({ min: 2, max: 5 });
  });

  test("a quote that is not closed does not swallow the rows after it, however many there are", async () => {
    const rows = Array.from({ length: 300_000 }, (_, i) => `${i},"b""${i}"`).join("\n");
    const { malformed, columns } = await analyzeBytes(`a,b\n1,"x\n${rows}\n`, { chunkBytes: 65_536 });
    expect(malformed.count).toBe(1);
    expect(columns[0]).toMatchObject({ type: "integer", max: 299_999 });
  });
});

describe("NDJSON", () => {
  test("has the members of its objects as columns, also those that come later", async () => {
    const data =
      '{"a":1,"b":"x"}\n\n{"a":2.5,"c":[1]}\n{"a":null,"d":{"e":1},"t":"2024-05-06"}\r\n[1]\n{"a":\n{"a":"1"}';
    const { rows, bad, short, format } = await look(data);
    expect(format).toMatchObject({ type: "ndjson", charset: "utf-8" });
    expect(rows).toBe(6);
    expect(bad).toEqual([
      [4, 5, "not_an_object"],
      [5, 6, "invalid_json"],
    ]);
    expect(short).toEqual({
      a: ["mixed", null, null, 1],
      b: ["text", "x", "x", 3],
      c: ["array", null, null, 3],
      d: ["object", null, null, 3],
      t: ["date", "2024-05-06", "2024-05-06", 3],
    });
  });

  test("takes names that objects have by themselves, and members that come twice", async () => {
    const { short } = await look('{"__proto__":1,"constructor":2,"a":1,"a":3}\n');
    expect(short).toEqual({
      ["__proto__"]: ["integer", 1, 1, 0],
      constructor: ["integer", 2, 2, 0],
      a: ["integer", 3, 3, 0],
    });
  });

  test("a JSON array is refused", async () => {
    await expect(look('[{"a":1}]')).rejects.toThrow("one object a line (NDJSON)");
  });
});

describe("gzip", () => {
  const text = "a,b\n1,x\n2,y\n";
  test("is unpacked, in one member or several", async () => {
    const [first, second] = [gzipSync(text.slice(0, 5)), gzipSync(text.slice(5))];
    for (const data of [gzipSync(text), Buffer.concat([first, second])])
      expect(await look(new Uint8Array(data))).toMatchObject({
        rows: 2,
        short: { a: ["integer", 1, 2, 0] },
        format: { compression: "gzip" },
      });
  });

  test("with too many bytes in it is refused, and with just as many as may be is not", async () => {
    const unpack = async (maxBytes: number) => {
      const packed = new Uint8Array(gzipSync(new Uint8Array(300_000)));
      let bytes = 0;
      for await (const chunk of new TextBytes(memorySource(packed), true, "utf-8", maxBytes).from(0))
        bytes += chunk.length;
      return bytes;
    };
    expect(await unpack(300_000)).toBe(300_000);
    await expect(unpack(299_999)).rejects.toThrow("more than 299999 bytes unpacked");
  });

  test("that is cut off or damaged is refused", async () => {
    const random = crypto.getRandomValues(new Uint8Array(3000)).join();
    const whole = new Uint8Array(gzipSync(random));
    await expect(look(whole.slice(0, -9))).rejects.toThrow("It cannot be unpacked");
    whole[1000] = (whole[1000] ?? 0) ^ 255;
    await expect(look(whole)).rejects.toThrow("It cannot be unpacked");
  });
});

describe("a checkpoint", () => {
  /** Everything that makes a position hard: quotes over lines, malformed rows, long fields, several bytes a character. */
  const lines = Array.from({ length: 900 }, (_, i) =>
    i % 97 === 0
      ? `${i}`
      : i % 53 === 0
        ? `${i},"ü ""${i}""\n😀, second line",3`
        : `${i},name ${i % 40},${(i * 7919) % 1000}.5`,
  );
  const csv = `n,name,value\n${lines.join("\n")}\n`;
  const json = Array.from({ length: 600 }, (_, i) =>
    JSON.stringify({ n: i, [`k${i % 30}`]: `é${i % 7}`, bad: i % 90 }),
  ).join("\n");
  const CASES = {
    csv: toBytes(csv),
    gzip: new Uint8Array(gzipSync(csv)),
    utf16: utf16le(`\ufeff${csv}`),
    ndjson: toBytes(json),
  };

  test.each(Object.entries(CASES))(
    "of %s holds everything: from each, the result is the same",
    async (_, data) => {
      const { kept, save } = checkpointKeeper();
      const whole = await analyzeBytes(data, { checkpointBytes: 3_000, chunkBytes: 500, save });
      expect(kept.length).toBeGreaterThan(4);
      for (const from of kept)
        expect(await analyzeBytes(data, { checkpointBytes: 3_000, chunkBytes: 777, from })).toEqual(whole);
    },
  );

  test("comes at the same places, however the bytes come", async () => {
    const [first, second] = [checkpointKeeper(), checkpointKeeper()];
    await analyzeBytes(csv, { checkpointBytes: 2_000, chunkBytes: 100, save: first.save });
    await analyzeBytes(csv, { checkpointBytes: 2_000, chunkBytes: 100_000, save: second.save });
    expect(first.kept).toEqual(second.kept);
  });
});
