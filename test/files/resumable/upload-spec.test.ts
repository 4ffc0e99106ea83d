import { describe, expect, test } from "vitest";
import {
  createSpec,
  type FileDescription,
  uploadIdSchema,
} from "../../../src/files/resumable/upload-spec.ts";
import { digest } from "../../support/uploads.ts";

const PLAN = {
  kind: "whole" as const,
  length: 5,
  endsAtLength: true,
  metadata: null,
  concat: null,
  sources: [],
};
const SILENT: FileDescription = {
  filename: undefined,
  contentType: undefined,
  query: {},
  headers: new Headers(),
};
const specOf = async (said: Partial<FileDescription>) => createSpec({ ...SILENT, ...said }, PLAN);
const repr = (value: string) => ({ headers: new Headers({ "Repr-Digest": value }) });

test("of an upload about which nothing is said has an id for a name, and no end", async () => {
  const spec = await specOf({});
  expect(spec).toEqual({
    ...PLAN,
    id: spec.id,
    filename: spec.id,
    contentType: "application/octet-stream",
    expiresIn: null,
    task: null,
    expected: null,
  });
  expect(uploadIdSchema.safeParse(spec.id).success).toBe(true);
});

test.each([
  ["a.txt", "a.txt"],
  ["dir/a.txt", "a.txt"],
  ["C:\\dir\\a.txt", "a.txt"],
  ["a\u0000b\r\n.txt", "ab.txt"],
  ["مرحبا 😀.txt", "مرحبا 😀.txt"],
])("the name %j is kept as %j", async (filename, kept) => {
  expect((await specOf({ filename })).filename).toBe(kept);
});

test.each(["", "..", "/", "\u0000"])("the name %j is none", async (filename) => {
  const spec = await specOf({ filename });
  expect(spec.filename).toBe(spec.id);
});

describe("what is said is refused where it cannot be", () => {
  test.each<[string, Partial<FileDescription>, string | null]>([
    ["everything as it should be", { query: { expires_in: "60", task: "verify_file" } }, null],
    ["a name of 255 bytes", { filename: "x".repeat(255) }, null],
    ["a name that is too long", { filename: "ä".repeat(128) }, "invalid"],
    ["a life that is no number", { query: { expires_in: "1h" } }, "invalid"],
    ["a life of no seconds", { query: { expires_in: "0" } }, "invalid"],
    ["a task that is none", { query: { task: "nope" } }, "invalid"],
    ["a task without a name", { query: { task: "" } }, "invalid"],
    ["a digest with sha-256", repr(`sha-256=:${digest("sha256", "x")}:`), null],
    [
      "a digest with others beside it",
      repr(`sha-512=:${digest("sha512", "x")}:, sha-256=:${digest("sha256", "x")}:`),
      null,
    ],
    ["a digest that nobody need know", repr("md5=:AA==:"), null],
    ["a digest whose state cannot be kept", repr(`sha-512=:${digest("sha512", "x")}:`), "malformed"],
    ["a digest that is too short", repr("sha-256=:AA==:"), "malformed"],
    ["a digest that is no dictionary", repr("sha-256=:"), "malformed"],
  ])("%s", async (_name, said, kind) => {
    const outcome = await specOf(said).then(
      () => null,
      (error: { kind?: string }) => error.kind,
    );
    expect(outcome).toBe(kind);
  });
});

test("a digest of the whole is kept as hexadecimal, and where it was said", async () => {
  const { expected } = await specOf(repr(`sha-256=:${digest("sha256", "x")}:`));
  expect(expected).toEqual({ sha256: digest("sha256", "x", "hex"), header: "Repr-Digest" });
});

test("no two uploads have the same id", async () => {
  const specs = await Promise.all(Array.from({ length: 50 }, async () => specOf({})));
  expect(new Set(specs.map(({ id }) => id)).size).toBe(50);
});
