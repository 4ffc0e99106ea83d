import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { openSource } from "../../../src/jobs/support/sources.ts";
import { NonRetryableError } from "../../../src/tasks/index.ts";
import { putFile, sha256 } from "../../support/files.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { objectKeys } from "../../support/stored.ts";

expectRuntimeErrors("reader canceled");

const TEXT = "0123456789";
const { signal } = new AbortController();

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const chunk of chunks) pieces.push(chunk);
  return Buffer.concat(pieces).toString();
}

describe("a source", () => {
  beforeEach(async () => {
    await reset();
    await putFile("a", TEXT);
  });

  test.each<[{ offset: number; length?: number } | undefined, string]>([
    [undefined, TEXT],
    [{ offset: 0 }, TEXT],
    [{ offset: 4 }, "456789"],
    [{ offset: 2, length: 3 }, "234"],
    [{ offset: 8, length: 5 }, "89"],
    [{ offset: 10, length: 5 }, ""],
  ])("has the bytes of the range %j", async (range, expected) => {
    const source = await openSource(signal, "a");
    expect(source.info).toMatchObject({ id: "a", size: 10, sha256: sha256(TEXT) });
    expect(await textOf(source.chunks(range))).toBe(expected);
    if (range?.length !== undefined)
      expect(Buffer.from(await source.bytes({ ...range, length: range.length })).toString()).toBe(expected);
  });

  test("may be empty", async () => {
    await putFile("empty", "");
    expect(await textOf((await openSource(signal, "empty")).chunks())).toBe("");
  });

  test("that does not exist fails the task for good", async () => {
    await expect(openSource(signal, "none")).rejects.toThrow(new NonRetryableError("there is no file none"));
  });

  test("that is replaced or removed meanwhile fails the task for good", async () => {
    const source = await openSource(signal, "a");
    await putFile("a", "other");
    const why = new NonRetryableError("the file a was replaced while this task worked on it: start it again");
    await expect(textOf(source.chunks())).rejects.toThrow(why);
    await expect(openSource(signal, "a", { sha256: sha256(TEXT) })).rejects.toThrow(why);
    await env.FILES.delete(await objectKeys());
    await expect(textOf((await openSource(signal, "a")).chunks())).rejects.toThrow("are not in R2");
  });

  test("ends with the signal's reason, before and while it is read", async () => {
    const interrupt = new AbortController();
    const source = await openSource(interrupt.signal, "a");
    const chunks = source.chunks();
    await chunks.next();
    interrupt.abort(new Error("handed over"));
    await expect(chunks.next()).rejects.toThrow("handed over");
    await expect(source.bytes({ offset: 0, length: 1 })).rejects.toThrow("handed over");
    await expect(openSource(interrupt.signal, "a")).rejects.toThrow("handed over");
  });
});
