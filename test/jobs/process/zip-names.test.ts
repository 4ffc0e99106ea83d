import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { FLAG } from "../../../src/jobs/process/zip-format.ts";
import { filenameIn, readName, safePath, uniqueNames } from "../../../src/jobs/process/zip-names.ts";

const entry = (name: Uint8Array, flags = 0, extra = new Map<number, Uint8Array>()) => ({
  name,
  flags,
  extra,
});

describe("a name is read", () => {
  test.each([
    ["as UTF-8, if the flag says so", entry(Buffer.from("ü.txt"), FLAG.utf8), "ü.txt"],
    ["as UTF-8, if it is valid", entry(Buffer.from("ü.txt")), "ü.txt"],
    ["as code page 437, if it is not", entry(Uint8Array.of(0x81, 0x2e, 0xe1)), "ü.ß"],
  ])("%s", (_, raw, name) => expect(readName(raw)).toBe(name));

  test("from Info-ZIP's extra block, if that is of this name", () => {
    const old = Buffer.from("_.txt");
    const block = (crc: number) => {
      const bytes = Buffer.concat([Buffer.alloc(5), Buffer.from("漢.txt")]);
      bytes[0] = 1;
      bytes.writeUInt32LE(crc, 1);
      return new Map([[0x7075, new Uint8Array(bytes)]]);
    };
    expect(readName(entry(old, 0, block(crc32(old))))).toBe("漢.txt");
    expect(readName(entry(old, 0, block(1)))).toBe("_.txt");
  });
});

describe("a path", () => {
  test.each([
    ["a/b.txt", "a/b.txt"],
    ["a\\b.txt", "a/b.txt"],
    ["./a//b/", "a/b"],
    ["e\u0301", "é"],
    ["a..b/...", "a..b/..."],
  ])("%j is %j", (name, path) => expect(safePath(name)).toEqual({ path }));

  test.each([
    ["../a", "leads out"],
    ["a/../../b", "leads out"],
    ["a/..\\b", "leads out"],
    ["/etc/passwd", "absolute"],
    ["\\server\\a", "absolute"],
    ["C:\\a", "absolute"],
    ["c:a", "absolute"],
    ["a\u0000b", "invisible"],
    ["a\u202egpj.exe", "invisible"],
    ["a\nb", "invisible"],
    ["", "no name"],
    ["./.", "no name"],
    ["\ud800", "not Unicode"],
    ["a".repeat(1_025), "longer than 1024 bytes"],
  ])("%j is none", (name, fault) => {
    expect(safePath(name)).toEqual({ fault: expect.stringContaining(fault) });
  });
});

test("names are made unique, without regard to case", () => {
  expect(uniqueNames(["a.txt", "A.txt", "b", "b", "a (2).txt", ".x", ".x", "d.d/e", "d.d/e"])).toEqual([
    "a.txt",
    "A (2).txt",
    "b",
    "b (2)",
    "a (2) (2).txt",
    ".x",
    ".x (2)",
    "d.d/e",
    "d.d/e (2)",
  ]);
});

test("a name that is a folder of another is changed", () => {
  expect(uniqueNames(["a", "A/b/c", "a/B"])).toEqual(["a (2)", "A/b/c", "a/B (2)"]);
});

test("the name of a file is the last part of its path", () => {
  expect(["a/b/c.txt", "c.txt"].map(filenameIn)).toEqual(["c.txt", "c.txt"]);
});
