/** Many uploads at once in one isolate, which has 128 MB for all of them: they wait for each other, and all arrive. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Share, uploadMemory } from "../../../src/files/store/memory-budget.ts";
import { callWorker } from "../../support/call.ts";
import { postForm, putFile, sha256 } from "../../support/files.ts";
import { FORM_TYPE, filePart, formBody } from "../../support/form.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  bytesOf,
  CHUNK,
  createTus,
  fileOf,
  headTus,
  kill,
  MIB,
  patchTus,
  storedRecord,
} from "../../support/uploads.ts";

/** Their parts together are more than the 64 MiB that there are. */
const COUNT = 10;
/** Long enough that its parts have 8 MiB. */
const LENGTH = 8 * MIB * 10_000;
const variables = { MAX_FILE_BYTES: LENGTH };
const bytes = bytesOf(8 * MIB + 1);

keepQuiet();
expectRuntimeErrors("jsg.Error: killed", "disconnected: ");
beforeEach(async () => {
  await reset();
  platform.reset();
});
afterEach(() => platform.reset());

const patch = async (path: string, body: Uint8Array<ArrayBuffer>) => {
  const headers = { ...CHUNK, "Upload-Offset": "0" };
  const { response, settled } = await callWorker(path, { method: "PATCH", headers, body, variables });
  await settled();
  return response.status;
};

const atOnce = async <T>(act: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: COUNT }, async (_, n) => act(n)));

describe("ten uploads at once", () => {
  test("in pieces, with parts of 8 MiB", async () => {
    const paths = await atOnce(async () => createTus({ "Upload-Length": LENGTH }, { variables }));
    const statuses = await Promise.all(paths.map(async (path) => patch(path, bytes)));
    expect(statuses).toEqual(Array.from({ length: COUNT }, () => 204));
    for (const path of paths)
      expect((await headTus(path)).headers.get("Upload-Offset")).toBe(String(bytes.length));
    expect(platform.maxUploadBytes).toBeLessThanOrEqual(64 * MIB);
  });

  test("in one request each, which become files", async () => {
    const statuses = await atOnce(async (n) => (await putFile(`f${n}`, bytes)).status);
    expect(statuses).toEqual(Array.from({ length: COUNT }, () => 201));
    expect(platform.maxUploadBytes).toBeLessThanOrEqual(64 * MIB);
  });

  test("each of a form with a small file, of which many fit", async () => {
    const form = formBody([filePart("hello")]);
    const taken = await uploadMemory.take(60 * MIB);
    const headers = { "Content-Type": FORM_TYPE, "Content-Length": String(form.length) };
    const statuses = await atOnce(async () => (await postForm("/upload-file", form, { headers })).status);
    taken.release();
    expect(statuses).toEqual(Array.from({ length: COUNT }, () => 201));
  });
});

describe("while there is no memory", () => {
  let taken: Share;
  beforeEach(async () => {
    taken = await uploadMemory.take(64 * MIB);
  });
  afterEach(() => taken.release());

  test("an upload waits, and goes on when there is some", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const waiting = patchTus(path, 0, "hello");
    await scheduler.wait(200);
    expect((await storedRecord(path)).offset).toBe(0);
    taken.release();
    expect((await waiting).status).toBe(204);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("an upload that waits can be asked, and is stopped by that", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const waiting = patchTus(path, 0, "hello");
    await scheduler.wait(200);
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe("0");
    expect((await waiting).status).toBe(409);
    taken.release();
    expect((await patchTus(path, 0, "hello")).status).toBe(204);
  });

  test("an upload whose object dies leaves its place to others", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const other = await createTus({ "Upload-Length": 5 });
    const waiting = patchTus(path, 0, "hello");
    await scheduler.wait(200);
    await kill(path);
    expect((await waiting).status).toBeGreaterThanOrEqual(500);
    taken.release();
    expect((await patchTus(other, 0, "hello")).status).toBe(204);
  });
});
