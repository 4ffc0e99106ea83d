/** Files that the code of the Worker writes over several runs. */
import { env, evictDurableObject, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { openDraft } from "../../../src/files/index.ts";
import { HashMemory } from "../../../src/files/resumable/running-hash.ts";
import type { FileSpec } from "../../../src/files/store/save-file.ts";
import { fetchText, putFile, sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { NOTHING, whatIsLeft } from "../../support/stored.ts";
import { bytesOf, kill, MIB, replaceBucket, sessionOf, storageOf } from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("jsg.Error: killed", "R2 is not available");
beforeEach(async () => {
  vi.useRealTimers();
  await reset();
});

const SPEC: FileSpec = {
  id: "rows.csv",
  filename: "Rows.csv",
  contentType: "text/csv",
  source: "in.csv",
  task: "s0-one",
};
const open = async (more: Partial<FileSpec> = {}) => openDraft(env, { ...SPEC, ...more });
const bytes = (text: string) => new TextEncoder().encode(text);
const status = async () => (await fetchText("/files/rows.csv")).status;
const isStored = (content: Uint8Array | string) => ({
  id: "rows.csv",
  filename: "Rows.csv",
  contentType: "text/csv",
  size: Buffer.byteLength(content),
  sha256: sha256(content),
  source: "in.csv",
  task: "s0-one",
});

describe("a draft", () => {
  test("becomes a file when it is finished, and not before", async () => {
    const draft = await open();
    expect([draft.offset, draft.file]).toEqual([0, undefined]);
    await draft.append(bytes("a,b\n"));
    await draft.append(new Uint8Array(0));
    await draft.append(bytes("1,2\n"));
    expect([draft.offset, await status()]).toEqual([8, 404]);
    expect(await draft.finish()).toEqual(isStored("a,b\n1,2\n"));
    expect(draft.file).toEqual(isStored("a,b\n1,2\n"));
    expect((await fetchText("/files/rows.csv")).text).toBe("a,b\n1,2\n");
    const { text } = await fetchText("/files?source=in.csv");
    expect(JSON.parse(text).files).toMatchObject([{ id: "rows.csv", sourceTask: "s0-one" }]);
  });

  test("may be empty", async () => {
    expect(await (await open()).finish()).toEqual(isStored(""));
  });

  test("is the same after its object has died, at the last byte that was acknowledged", async () => {
    const content = bytesOf(6 * MIB + 5);
    const first = await open();
    await first.append(content.subarray(0, 6 * MIB));
    await kill(SPEC.id);
    const second = await open();
    expect(second.offset).toBe(6 * MIB);
    await second.append(content.subarray(6 * MIB));
    await evictDurableObject(sessionOf(SPEC.id));
    // The hash was only in memory, so the bytes are read back.
    expect(await (await open()).finish()).toEqual(isStored(content));
  });

  test("that is finished tells its file, also to who opens it again, and finishing it again changes nothing", async () => {
    const draft = await open();
    await draft.append(bytes("x"));
    await draft.finish();
    const again = await open();
    expect(again.file).toEqual(isStored("x"));
    expect(await again.finish()).toEqual(isStored("x"));
    await expect(again.append(bytes("y"))).rejects.toThrow("cannot go on");
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });

  test("that is discarded leaves nothing, and the next one begins anew", async () => {
    const draft = await open();
    await draft.append(bytesOf(6 * MIB));
    await draft.discard();
    expect(await whatIsLeft()).toEqual(NOTHING);
    expect((await storageOf(SPEC.id)).keys).toEqual([]);
    await expect(draft.append(bytes("x"))).rejects.toThrow(
      "The draft of the file rows.csv cannot go on: it was discarded, has expired, or was opened by another task.",
    );
    expect((await open()).offset).toBe(0);
  });

  test("of another task ends; the file that it has become stays until it is replaced", async () => {
    const first = await open();
    await first.append(bytes("first"));
    const second = await open({ task: "s0-two" });
    expect(second.offset).toBe(0);
    for (const call of [first.append(bytes("x")), first.finish()])
      await expect(call).rejects.toThrow("was opened by another task");
    await first.discard();
    await second.append(bytes("other"));
    expect(await second.finish()).toMatchObject({ task: "s0-two", sha256: sha256("other") });
    const third = await open({ task: "s0-three" });
    expect([third.offset, third.file]).toEqual([0, undefined]);
    expect((await fetchText("/files/rows.csv")).text).toBe("other");
    await third.append(bytes("third"));
    expect(await third.finish()).toMatchObject({ sha256: sha256("third") });
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });

  test("is found by its own task only until it expires", async () => {
    const draft = await open();
    await draft.append(bytes("x"));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 25 * 3_600_000 });
    expect((await open()).offset).toBe(0);
  });

  test("replaces what had its id, and no earlier than it is finished", async () => {
    await putFile("rows.csv", "before");
    const draft = await open();
    await draft.append(bytes("after"));
    expect((await fetchText("/files/rows.csv")).text).toBe("before");
    await draft.finish();
    expect((await fetchText("/files/rows.csv")).text).toBe("after");
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });
});

describe("an append", () => {
  test("whose reply was lost is not made twice", async () => {
    const draft = await open();
    const { maxUnknownLength } = { maxUnknownLength: 1_000 };
    await sessionOf(SPEC.id).appendDraft("s0-one", 0, bytes("abc"), maxUnknownLength);
    // As the runtime repeats it.
    await draft.append(bytes("abc"));
    expect(draft.offset).toBe(3);
    expect(await draft.finish()).toEqual(isStored("abc"));
  });

  test("by other code is noticed", async () => {
    const [one, two] = [await open(), await open()];
    await one.append(bytes("abc"));
    await expect(two.append(bytes("d"))).rejects.toThrow("other code has written to it");
  });

  test("that R2 does not take fails, and may be made again", async () => {
    const draft = await open();
    const down = async () => Promise.reject(new Error("R2 is not available"));
    await replaceBucket(SPEC.id, () => ({ createMultipartUpload: down }));
    await expect(draft.append(bytesOf(6 * MIB))).rejects.toMatchObject({ kind: "catalogue-unavailable" });
    await kill(SPEC.id);
    const again = await open();
    expect(again.offset).toBe(0);
    await again.append(bytesOf(6 * MIB));
    expect(await again.finish()).toEqual(isStored(bytesOf(6 * MIB)));
  });

  test("beyond MAX_FILE_BYTES is refused", async () => {
    const small = { ...env, MAX_FILE_BYTES: 5 };
    const draft = await openDraft(small, SPEC);
    await draft.append(bytes("hello"));
    await expect(draft.append(bytes("!"))).rejects.toThrow("it would be longer than a file may be");
    expect(draft.offset).toBe(5);
  });
});

test("the hash of another draft in the same object is forgotten", () => {
  const memory = new HashMemory();
  const hash = memory.resume({ hash: "in memory", hashVersion: 2, offset: 0 });
  hash?.update(bytes("abc"));
  if (hash) memory.keep(3, hash);
  memory.forget();
  expect(memory.resume({ hash: "in memory", hashVersion: 2, offset: 3 })).toBeNull();
  expect(memory.digest({ hash: "in memory", hashVersion: 2, offset: 0 })).toBe(sha256(""));
});

test.each([
  [{ id: "../x" }, "cannot be the id of a file"],
  [{ filename: "n".repeat(256) }, "longer than 255 bytes"],
])("a spec with %j is refused before anything is written", async (more, why) => {
  await expect(open(more)).rejects.toThrow(why);
  expect(await whatIsLeft()).toEqual(NOTHING);
});
