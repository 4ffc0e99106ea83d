import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { openFile } from "../../../src/files/store/open-file.ts";
import { putFile, sha256 } from "../../support/files.ts";
import { changed } from "../../support/stored.ts";

const TEXT = "0123456789";
const WHOLE = { offset: 0, length: TEXT.length };

beforeEach(() => reset());

const textOf = async (file: Awaited<ReturnType<typeof openFile>>) => new Response(file?.body).text();

test("opens a file, with its metadata", async () => {
  await putFile("a", TEXT, {
    headers: {
      "Content-Type": "text/plain",
      "Content-Disposition": "attachment; filename*=UTF-8''%C3%A4.txt",
    },
  });
  const described = { id: "a", filename: "ä.txt", contentType: "text/plain", size: 10, sha256: sha256(TEXT) };
  const info = { ...described, source: null, task: null };
  const file = await openFile(env, "a");
  expect([file?.info, file?.range, await textOf(file)]).toEqual([info, WHOLE, TEXT]);
});

test("undefined if there is no file, with a range too", async () => {
  expect(await openFile(env, "a")).toBeUndefined();
  expect(await openFile(env, "a", { range: { offset: 5 } })).toBeUndefined();
});

type Range = NonNullable<NonNullable<Parameters<typeof openFile>[2]>["range"]>;

describe("a range", () => {
  test.each<[Range, number, string]>([
    [{ offset: 0 }, 0, TEXT],
    [{ offset: 4 }, 4, "456789"],
    [{ offset: 9 }, 9, "9"],
    [{ offset: 2, length: 3 }, 2, "234"],
    [{ offset: 0, length: 10 }, 0, TEXT],
    // Cut at the end.
    [{ offset: 8, length: 99 }, 8, "89"],
    [{ suffix: 1 }, 9, "9"],
    [{ suffix: 10 }, 0, TEXT],
    [{ suffix: 99 }, 0, TEXT],
  ])("%o", async (range, offset, text) => {
    await putFile("a", TEXT);
    const file = await openFile(env, "a", { range });
    expect([file?.range, await textOf(file)]).toEqual([{ offset, length: text.length }, text]);
    expect(file?.info).toMatchObject({ size: 10, sha256: sha256(TEXT) });
  });

  test.each<[Range, string]>([
    [{ offset: 10 }, "The file a has 10 bytes; there are none from 10 on."],
    [{ offset: 99, length: 1 }, "The file a has 10 bytes; there are none from 99 on."],
    [{ offset: -1 }, "The offset of a range cannot be -1."],
    [{ offset: 0.5 }, "The offset of a range cannot be 0.5."],
    [{ offset: 0, length: 0 }, "The length of a range cannot be 0."],
    [{ offset: 0, length: Number.NaN }, "The length of a range cannot be NaN."],
    [{ suffix: 0 }, "The suffix of a range cannot be 0."],
    [{ suffix: Number.POSITIVE_INFINITY }, "The suffix of a range cannot be Infinity."],
  ])("%o is rejected", async (range, message) => {
    await putFile("a", TEXT);
    await expect(openFile(env, "a", { range })).rejects.toThrow(new RangeError(message));
  });

  test("of an empty file is its suffix, and no other", async () => {
    await putFile("a", "");
    const file = await openFile(env, "a", { range: { suffix: 5 } });
    expect([file?.range, await textOf(file)]).toEqual([{ offset: 0, length: 0 }, ""]);
    await expect(openFile(env, "a", { range: { offset: 0 } })).rejects.toThrow(RangeError);
    const whole = await openFile(env, "a");
    expect([whole?.range, await textOf(whole)]).toEqual([{ offset: 0, length: 0 }, ""]);
  });

  test("reads only its bytes from R2, as a stream", async () => {
    await putFile("a", TEXT);
    const requested: unknown[] = [];
    const bucket = changed(env.FILES, {
      get: async (key: string, options: R2GetOptions) => {
        requested.push(options.range);
        return env.FILES.get(key, options);
      },
    });
    const file = await openFile({ ...env, FILES: bucket }, "a", { range: { offset: 2, length: 3 } });
    expect([requested, file?.body]).toEqual([[{ offset: 2, length: 3 }], expect.any(ReadableStream)]);
    expect(await textOf(file)).toBe("234");
  });

  test("of a file that was replaced in the meantime is a range of the new version", async () => {
    await putFile("a", TEXT);
    let reads = 0;
    const bucket = changed(env.FILES, {
      get: async (key: string, options: R2GetOptions) => {
        if (++reads > 1) return env.FILES.get(key, options);
        await putFile("a", "new");
        return null;
      },
    });
    const file = await openFile({ ...env, FILES: bucket }, "a", { range: { suffix: 2 } });
    expect([file?.range, await textOf(file)]).toEqual([{ offset: 1, length: 2 }, "ew"]);
  });
});
