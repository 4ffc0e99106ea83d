import { describe, expect, test } from "vitest";
import { readMetadata, readSize } from "../../../src/files/store/upload-headers.ts";

describe("a size", () => {
  test.each([
    ["0", 0],
    ["5", 5],
    ["007", 7],
    ["999999999999999", 999_999_999_999_999],
  ])("%s is a number of bytes", (text, size) => {
    expect(readSize(new Headers({ "Content-Length": text }), "Content-Length")).toBe(size);
  });

  test("may be missing", () => {
    expect(readSize(new Headers(), "Content-Length")).toBeNull();
  });

  test.each(["", "-1", "+1", "1.0", "1e3", "0x10", "5, 5", "five", "1000000000000000"])(
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
  ])("%j is malformed", (header) => {
    expect(() => readMetadata(header)).toThrow("Upload-Metadata");
  });
});
