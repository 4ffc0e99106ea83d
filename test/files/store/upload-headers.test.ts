import { describe, expect, test } from "vitest";
import { readMetadata, readSize, rejectContentCoding } from "../../../src/files/store/upload-headers.ts";

describe("a size", () => {
  test.each([
    ["0", 0],
    ["5", 5],
    ["007", 7],
    ["999999999999999", 999_999_999_999_999],
    // However large: the caller says that it is too large.
    ["1125899906842624", 2 ** 50],
    ["99999999999999999999", 1e20],
    ["9".repeat(400), Number.POSITIVE_INFINITY],
  ])("%s is a number of bytes", (text, size) => {
    expect(readSize(new Headers({ "Content-Length": text }), "Content-Length")).toBe(size);
  });

  test("may be missing", () => {
    expect(readSize(new Headers(), "Content-Length")).toBeNull();
  });

  test.each(["", "-1", "+1", "1.0", "1e3", "0x10", "5, 5", "five", " ", "1_000"])(
    "%j is rejected",
    (text) => {
      const read = () => readSize(new Headers({ "Upload-Length": text }), "Upload-Length");
      expect(read).toThrow("Upload-Length is not a number of bytes");
    },
  );
});

describe("the metadata of tus", () => {
  test.each([
    [null, {}],
    ["", {}],
    ["filename aGVsbG8=", { filename: "hello" }],
    ["filename aGVsbG8=,is_confidential", { filename: "hello", is_confidential: "" }],
    ["a , b", { a: "", b: "" }],
    ["filename 8J+YgA==", { filename: "😀" }],
    ["__proto__ aGVsbG8=", { ["__proto__"]: "hello" }],
    // Values that are not read here may be any bytes.
    ["thumbnail /9j/", { thumbnail: "\ufffd\ufffd\ufffd" }],
  ])("%j is %o", (header, entries) => {
    expect(Object.fromEntries(readMetadata(header))).toEqual(entries);
  });

  test.each([
    ",",
    "a,",
    "a aGVsbG8=,a aGVsbG8=",
    "a not-base64",
    "a aGVsbG8",
    "a aGVsbG8= x",
    " aGVsbG8=,",
    "é aGVsbG8=",
    // ISO-8859-1: `é.txt`.
    "filename 6S50eHQ=",
    "name /w==",
    "filetype /w==",
  ])("%j is malformed", (header) => {
    expect(() => readMetadata(header)).toThrow("Upload-Metadata");
  });
});

describe("Content-Encoding", () => {
  test.each(["", "identity", "Identity", "identity, identity", " , identity"])("%j is none", (coding) => {
    expect(() => rejectContentCoding(new Headers({ "Content-Encoding": coding }))).not.toThrow();
    expect(() => rejectContentCoding(new Headers())).not.toThrow();
  });

  test.each(["gzip", "GZIP", "x-gzip", "br", "zstd", "aws-chunked", "identity, gzip", "gzip,identity", "?"])(
    "%j is rejected",
    (coding) => {
      const reject = () => rejectContentCoding(new Headers({ "Content-Encoding": coding }));
      expect(reject).toThrow("without Content-Encoding");
    },
  );
});
