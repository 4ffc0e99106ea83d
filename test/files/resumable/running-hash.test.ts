/** The hash of an upload goes on across requests and versions, and a state that is not known is never misread. */
import { evictDurableObject, reset } from "cloudflare:test";
import { afterEach, expect, test } from "vitest";
import type { SessionRecord } from "../../../src/files/resumable/session-storage.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  changeRecord,
  createTus,
  fileOf,
  headTus,
  inSession,
  patchTus,
  sessionOf,
  storedRecord,
} from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("The hash of this upload has version 99");
afterEach(() => reset());

const begun = async () => {
  const path = await createTus({ "Upload-Length": 5 });
  await patchTus(path, 0, "hel");
  return path;
};

test("a record of 0.1.0, which has no version, goes on", async () => {
  const path = await begun();
  await inSession(path, ({ storage }) => {
    const { hashVersion: _, ...record } = storage.kv.get<SessionRecord>("session") as SessionRecord;
    storage.kv.put("session", record);
  });
  expect((await patchTus(path, 3, "lo")).status).toBe(204);
  expect((await fileOf(path)).sha256).toBe(sha256("hello"));
});

test("each record has a version, beside the state where 0.1.0 finds it", async () => {
  const { hash, hashVersion } = await storedRecord(await begun());
  expect([hash?.bytesHashed, hashVersion]).toEqual([3, 1]);
});

test("a state of a version that is not known keeps the upload as it is, until the code that knows it is back", async () => {
  const path = await begun();
  await changeRecord(path, { hashVersion: 99 });
  const { status } = await patchTus(path, 3, "lo");
  expect(status).toBe(503);
  expect((await headTus(path)).headers.get("Upload-Offset")).toBe("3");
  expect((await fileOf(path)).status).toBe(404);
  await changeRecord(path, { hashVersion: 1 });
  await evictDurableObject(sessionOf(path));
  expect((await patchTus(path, 3, "lo")).status).toBe(204);
  expect((await fileOf(path)).sha256).toBe(sha256("hello"));
});
