import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { createSpec, type FileDescription } from "../../../src/files/resumable/upload-spec.ts";
import { limitsOf } from "../../../src/files/store/upload-rules.ts";
import { digest } from "../../support/uploads.ts";

const FIELDS = {
  protocol: "tus" as const,
  kind: "whole" as const,
  length: 5,
  endsAtLength: true,
  metadata: null,
  concat: null,
  sources: [],
};
const EMPTY: FileDescription = {
  filename: undefined,
  contentType: undefined,
  query: {},
  headers: new Headers(),
};
const ID = "0190a2b4-0000-7000-8000-000000000000";
const specOf = async (description: Partial<FileDescription>) =>
  createSpec(ID, limitsOf(env, ID, null), { ...EMPTY, ...description }, FIELDS, {
    owner: "ada",
    terms: null,
  });
const repr = (value: string) => ({ headers: new Headers({ "Repr-Digest": value }) });

test("an upload without a description is named by its id and does not expire", async () => {
  const spec = await specOf({});
  expect(spec).toEqual({
    ...FIELDS,
    id: ID,
    origin: { owner: "ada", metadata: null, grant: null },
    filename: ID,
    contentType: "application/octet-stream",
    expiresIn: null,
    task: null,
    expected: null,
  });
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

test.each(["", "..", "/", "\u0000"])("the name %j counts as missing", async (filename) => {
  const spec = await specOf({ filename });
  expect(spec.filename).toBe(spec.id);
});

describe("an invalid description is rejected", () => {
  test.each<[string, Partial<FileDescription>, string | null]>([
    ["a valid description", { query: { expires_in: "60", task: "verify_file" } }, null],
    ["a name of 255 bytes", { filename: "x".repeat(255) }, null],
    ["a name that is too long", { filename: "ä".repeat(128) }, "invalid"],
    ["an expires_in that is not a number", { query: { expires_in: "1h" } }, "invalid"],
    ["an expires_in of 0", { query: { expires_in: "0" } }, "invalid"],
    ["a task type that does not exist", { query: { task: "nope" } }, "invalid"],
    ["a task without a name", { query: { task: "" } }, "invalid"],
    ["a digest with sha-256", repr(`sha-256=:${digest("sha256", "x")}:`), null],
    [
      "a digest beside one that cannot be verified",
      repr(`sha-512=:${digest("sha512", "x")}:, sha-256=:${digest("sha256", "x")}:`),
      "malformed",
    ],
    ["a digest with an algorithm that is not known", repr("crc32c=:AAAAAA==:"), "malformed"],
    ["a digest whose state cannot be stored", repr(`sha-512=:${digest("sha512", "x")}:`), "malformed"],
    ["a digest that is too short", repr("sha-256=:AA==:"), "malformed"],
    ["a digest that is not a dictionary", repr("sha-256=:"), "malformed"],
  ])("%s", async (_name, description, kind) => {
    const outcome = await specOf(description).then(
      () => null,
      (error: { kind?: string }) => error.kind,
    );
    expect(outcome).toBe(kind);
  });
});

test("a digest of the whole is kept in hexadecimal, with its header", async () => {
  const { expected } = await specOf(repr(`sha-256=:${digest("sha256", "x")}:`));
  expect(expected).toEqual({ sha256: digest("sha256", "x", "hex"), header: "Repr-Digest" });
});
