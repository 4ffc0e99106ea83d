/** zip_files and unzip_file: each alone, one after the other, cut at every moment, and with hostile archives. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { unzip } from "../../../src/jobs/process/unzip-file.ts";
import { zip } from "../../../src/jobs/process/zip-files.ts";
import type { TaskContext } from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { fetchText, putFile, sha256 } from "../../support/files.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";
import { type MadeEntry, makeZip } from "../../support/zip-maker.ts";

// A range that is not read to its end.
expectRuntimeErrors("reader canceled");

const lines = Buffer.from(
  Array.from({ length: 45_000 }, (_, i) => `${i},a line with number ${(i * 7919) % 1_000}\n`).join(""),
);
const noise = new Uint8Array(300_000).map((_, i) => Math.imul(i + 1, 2_654_435_761) >>> 24);
const UNZIP = { max_entries: 1_000, max_bytes: 1e9, max_ratio: 250 };
const BATCH = 150_000;

async function bytesOf(fileId: unknown): Promise<Buffer> {
  const { response } = await callWorker(`/files/${String(fileId)}`);
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}

async function putSources() {
  await reset();
  await putFile("lines.csv", lines);
  await putFile("noise.png", noise);
  await putFile("empty", "");
}

const FILES = [
  { fileId: "lines.csv", path: "data/Zeilen – ü.csv" },
  { fileId: "noise.png" },
  { fileId: "empty" },
  { fileId: "noise.png" },
];
const CONTENTS: [path: string, content: Uint8Array][] = [
  ["data/Zeilen – ü.csv", lines],
  ["noise.png", noise],
  ["empty", Buffer.alloc(0)],
  ["noise (2).png", noise],
];

/** Unzips the file, and expects these contents in this order. */
async function expectContents(fileId: string, contents: typeof CONTENTS) {
  const id = await submitted({ type: "unzip_file", input: { fileId } });
  const { result } = await taskWhen(id, "succeeded");
  const files = contents.map(([path, content], i) => ({
    fileId: `${id}.${i + 1}`,
    path,
    size: content.length,
  }));
  const totalSize = contents.reduce((sum, [, content]) => sum + content.length, 0);
  expect(result).toEqual({ fileId, files, totalSize });
  for (const [i, [, content]] of contents.entries())
    expect((await bytesOf(`${id}.${i + 1}`)).equals(content)).toBe(true);
  return id;
}

beforeEach(putSources);

test("what zip_files has zipped, unzip_file unzips; each file is linked to its source", async () => {
  const id = await submitted({ type: "zip_files", input: { files: FILES, filename: "all.zip" } });
  const { result } = await taskWhen(id, "succeeded");
  expect(result).toMatchObject({
    fileId: `${id}.zip`,
    filename: "all.zip",
    contentType: "application/zip",
    paths: CONTENTS.map(([path]) => path),
    originalSize: lines.length + 2 * noise.length,
    sha256: sha256(await bytesOf(`${id}.zip`)),
  });
  const unzipped = await expectContents(`${id}.zip`, CONTENTS);
  const { body } = await callForJson(`/files?source=${id}.zip`);
  expect(body.files).toHaveLength(4);
  expect(body.files).toContainEqual(
    expect.objectContaining({ id: `${unzipped}.1`, filename: "Zeilen – ü.csv", contentType: "text/csv" }),
  );
  expect((await fetchText(`/tasks/${unzipped}/events`)).text).toContain("4 of 4 files unpacked");
});

test("zip_files goes on wherever it was cut, to the same bytes", async () => {
  const digests = new Set<string>();
  const input = { files: FILES, filename: "a.zip", level: 6 };
  const moments = await cutAtEveryMoment(
    async () => {
      await putSources();
      return async (ctx: TaskContext) => zip(ctx, input, BATCH);
    },
    async (result) => {
      digests.add(`${result.size}`);
      expect((await bytesOf(result.fileId)).readUInt32LE(result.size - 22)).toBe(0x06054b50);
      const code = async (ctx: TaskContext) => unzip(ctx, { fileId: result.fileId, ...UNZIP });
      expect((await new TestTask("s1-unzip").run(code)).files).toHaveLength(4);
    },
  );
  expect(moments).toBeGreaterThanOrEqual(7);
  expect(digests.size).toBe(1);
});

test("unzip_file goes on wherever it was cut, also within an entry", async () => {
  const archive = makeZip(CONTENTS.map(([name, content]) => ({ name, content })));
  const moments = await cutAtEveryMoment(
    async () => {
      await reset();
      await putFile("a.zip", archive);
      return async (ctx: TaskContext) => unzip(ctx, { fileId: "a.zip", ...UNZIP }, BATCH);
    },
    async (result) => {
      expect(result.files.map(({ path }) => path)).toEqual(CONTENTS.map(([path]) => path));
      for (const [i, { fileId }] of result.files.entries())
        expect((await bytesOf(fileId)).equals(CONTENTS[i]?.[1] ?? new Uint8Array())).toBe(true);
    },
  );
  expect(moments).toBeGreaterThanOrEqual(6);
});

describe("unzip_file reads", () => {
  const text = Buffer.from("hello");
  test.each<[string, Buffer, typeof CONTENTS]>([
    ["stored entries", makeZip([{ name: "a", content: text, method: 0 }]), [["a", text]]],
    [
      "folders, which are no files",
      makeZip([
        { name: "d/", mode: 0o040_755 },
        { name: "d/a", content: text },
        // As archivers write it that do not put a slash after a folder, or only there.
        { name: "e", mode: 0o040_755 },
        { name: "f/" },
        { name: "g\\" },
      ]),
      [["d/a", text]],
    ],
    [
      "an archive with a program in front, and a comment",
      makeZip([{ name: "a", content: text }], { before: "#!/bin/sh\n", comment: "PK\u0005\u0006 is in it" }),
      [["a", text]],
    ],
    [
      "names in code page 437",
      makeZip([{ name: Uint8Array.of(0x81), content: text, flags: 0 }]),
      [["ü", text]],
    ],
    ["an empty archive", makeZip([]), []],
  ])("%s", async (_, archive, contents) => {
    await putFile("a.zip", archive);
    await expectContents("a.zip", contents);
  });
});

describe("unzip_file refuses, and leaves nothing:", () => {
  const text = "hello, hello, hello";
  const good = { name: "good", content: text };
  const one = (entry: Partial<MadeEntry>) => makeZip([good, { name: "bad", content: text, ...entry }]);
  const zeros = Buffer.alloc(11 * 1024 * 1024);

  test.each<[string, Uint8Array, string]>([
    ["what is no archive", Buffer.from("hello"), "not a ZIP archive"],
    ["an archive that is cut off", makeZip([good]).subarray(0, -9), "not a ZIP archive"],
    [
      "an archive whose middle is missing",
      Buffer.concat([makeZip([good]).subarray(0, 10), makeZip([good]).subarray(30)]),
      "directory",
    ],
    [
      "a path that leads out",
      one({ name: "../bad" }),
      'the entry "../bad" is not unpacked: its path leads out',
    ],
    ["an absolute path", one({ name: "/bad" }), "its path is absolute"],
    ["a name with controls", one({ name: "b\u0007d" }), "invisible characters"],
    ["a symbolic link", one({ mode: 0o120_777 }), "it is a symbolic link"],
    ["a device", one({ mode: 0o060_644 }), "neither a file nor a folder"],
    ["a folder that has content", one({ name: "bad/" }), "it is a folder, and has content"],
    ["the same in another spelling", one({ name: "bad\\" }), "it is a folder, and has content"],
    ["the same by its mode", one({ mode: 0o040_755 }), "it is a folder, and has content"],
    ["an encrypted entry", one({ flags: 1 }), "it is encrypted"],
    ["an entry of AES", one({ method: 99 }), "it is encrypted"],
    ["another method", one({ method: 14 }), "it is packed with LZMA, not DEFLATE"],
    ["a name that is there twice", one({ name: "good" }), 'the path "good" is there twice'],
    ["a file that is a folder too", one({ name: "good/bad" }), '"good" is a file and a folder'],
    ["entries that overlap", one({ claims: { offset: 0 } }), "shares bytes"],
    [
      "an entry that runs into the next",
      makeZip([
        { ...good, claims: { compressedBytes: 90 } },
        { name: "bad", content: text },
      ]),
      "shares bytes",
    ],
    ["another name in the local header", one({ localName: "abc" }), "names another file"],
    [
      "more bytes than it says",
      one({ claims: { bytes: 3 } }),
      'the entry "bad": it is longer than the directory says',
    ],
    ["fewer bytes than it says", one({ claims: { bytes: 300 } }), "it is shorter than the directory says"],
    ["a wrong digest", one({ claims: { crc: 1 } }), 'the entry "bad": its bytes do not match its CRC-32'],
    ["a part of several", one({ claims: { disk: 1 } }), "of an archive of several"],
    ["more entries than the end says", makeZip([good, { name: "b" }], { count: 1 }), "directory"],
    [
      "a bomb",
      makeZip([
        { name: "a", content: zeros },
        { name: "b", content: zeros },
      ]),
      "times its own size, and the limit is 250",
    ],
  ])("%s", async (_, archive, message) => {
    await putFile("a.zip", archive);
    const id = await submitted({ type: "unzip_file", input: { fileId: "a.zip" } });
    const { error, attempt } = await taskWhen(id, "failed");
    expect(attempt).toBe(1);
    expect(error).toMatchObject({ message: expect.stringContaining(message) });
    expect(error).toMatchObject({ message: expect.stringContaining("the file a.zip was not unzipped") });
    expect((await callForJson("/files?source=a.zip")).body.files).toEqual([]);
  });

  test.each<[object, string]>([
    [{ max_entries: 1 }, "it has 2 entries, and the limit is 1"],
    [{ max_bytes: 20 }, "it unpacks to 38 bytes, and the limit is 20"],
  ])("what is beyond %j", async (limits, message) => {
    await putFile("a.zip", one({}));
    const id = await submitted({ type: "unzip_file", input: { fileId: "a.zip", ...limits } });
    expect(await taskWhen(id, "failed")).toMatchObject({
      error: { message: expect.stringContaining(message) },
    });
  });

  test("an archive that is replaced meanwhile", async () => {
    await putFile("a.zip", makeZip([{ name: "lines", content: lines }, good]));
    const task = new TestTask();
    const code = async (ctx: TaskContext) => unzip(ctx, { fileId: "a.zip", ...UNZIP }, BATCH);
    await expect(task.run(code, 3)).rejects.toThrow("cut at moment 3");
    await putFile("a.zip", makeZip([good]));
    await expect(task.run(code)).rejects.toThrow("was replaced");
  });
});

test.each([
  ["zip_files", { files: [] }, "json/input/files"],
  ["zip_files", { files: [{ fileId: "a", path: "../b" }] }, "json/input/files/0/path"],
  ["zip_files", { files: [{ fileId: "a", path: "/b" }] }, "json/input/files/0/path"],
  ["zip_files", { files: [{ fileId: "a", path: "" }] }, "json/input/files/0/path"],
  [
    "zip_files",
    {
      files: [
        { fileId: "a", path: "b/c" },
        { fileId: "b", path: "B" },
      ],
    },
    "json/input/files/0/path",
  ],
  [
    "zip_files",
    {
      files: [
        { fileId: "a", path: "b" },
        { fileId: "b", path: "B" },
      ],
    },
    "json/input/files/1/path",
  ],
  ["zip_files", { files: [{ fileId: "a/b" }] }, "json/input/files/0/fileId"],
  ["zip_files", { files: [{ fileId: "a" }], filename: "a/b" }, "json/input/filename"],
  ["zip_files", { files: [{ fileId: "a" }], level: 10 }, "json/input/level"],
  ["unzip_file", {}, "json/input/fileId"],
  ["unzip_file", { fileId: "a", max_entries: 3_000 }, "json/input/max_entries"],
  ["unzip_file", { fileId: "a", max_ratio: 0 }, "json/input/max_ratio"],
])("%s refuses %j, and starts nothing", async (type, input, at) => {
  const { status, body } = await submit({ type, input });
  expect([status, body.errors]).toEqual([422, [expect.objectContaining({ at })]]);
});

test("zip_files fails if a file does not exist", async () => {
  const id = await submitted({ type: "zip_files", input: { files: [{ fileId: "none" }] } });
  expect(await taskWhen(id, "failed")).toMatchObject({ error: { message: "there is no file none" } });
});
