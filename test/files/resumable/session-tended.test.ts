/** Upload sessions whose alarm the runtime has given up: the watchdog finds them through their catalogue. */
import {
  createScheduledController,
  env,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { catalogueOf } from "../../../src/files/store/shards.ts";
import { captureLogs } from "../../support/call.ts";
import { sha256 } from "../../support/files.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  bytesOf,
  createFinal,
  createTus,
  EMPTY_STORAGE,
  expectNothingLeft,
  fileOf,
  idOf,
  inSession,
  MIB,
  metadata,
  PARTIAL,
  patchTus,
  replaceBucket,
  sessionOf,
  storageOf,
  storedRecord,
  uploadTus,
} from "../../support/uploads.ts";
import worker from "../../support/worker.ts";

const HOUR_MS = 3_600_000;

keepQuiet();
expectRuntimeErrors("R2 is not available");
beforeEach(() => reset());
afterEach(() => {
  platform.reset();
  vi.useRealTimers();
});

const later = (ms: number) => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });

/** As when the Worker could not start for some minutes. */
const loseAlarm = async (path: string) => inSession(path, async ({ storage }) => storage.deleteAlarm());

/** One run of the cron; the catalogue of the upload is the only one there is. */
async function runWatchdog(path: string) {
  await env.FILES.put(
    "sluice/objects.json",
    JSON.stringify({ objects: [`FILE_CATALOGUE/${catalogueName(path)}`] }),
  );
  const { lines } = await captureLogs(async () =>
    worker.scheduled(createScheduledController({ scheduledTime: new Date(), cron: "* * * * *" }), env),
  );
  return lines;
}

const catalogueName = (path: string) => catalogueOf(env, idOf(path)).name;

const tended = async (path: string) =>
  runInDurableObject(catalogueOf(env, idOf(path)), (_, { storage }) =>
    storage.sql.exec<{ id: string; tend_at_ms: number }>("SELECT id, tend_at_ms FROM session").toArray(),
  );

test("an abandoned upload is removed, and all its state", async () => {
  const path = await createTus({ "Upload-Length": 6 * MIB });
  await patchTus(path, 0, bytesOf(5 * MIB + 1));
  later(26 * HOUR_MS);
  await loseAlarm(path);
  expect(await runWatchdog(path)).toMatchObject([
    { level: "warn", message: "overdue; its alarm was run", what: `upload ${idOf(path)}` },
  ]);
  await expectNothingLeft(path);
  expect(await tended(path)).toEqual([]);
});

test("an upload that has all its bytes becomes a file", async () => {
  const path = await createTus({ "Upload-Length": 5 });
  await replaceBucket(path, () => ({ put: async () => Promise.reject(new Error("R2 is not available")) }));
  await patchTus(path, 0, "hello");
  await replaceBucket(path, () => ({}));
  later(26 * HOUR_MS);
  await loseAlarm(path);
  await runWatchdog(path);
  expect((await fileOf(path)).sha256).toBe(sha256("hello"));
});

test("a final upload that waits is tended too, before it has any bytes", async () => {
  const partial = await uploadTus("hello", PARTIAL);
  const path = await createFinal([partial]);
  later(2 * HOUR_MS);
  await loseAlarm(path);
  await runWatchdog(path);
  await expect.poll(async () => (await fileOf(path)).sha256).toBe(sha256("hello"));
});

describe("nothing happens to", () => {
  test("an upload whose alarm is set: it is asked again after that", async () => {
    const path = await createTus({ "Upload-Length": 6 * MIB });
    await patchTus(path, 0, bytesOf(5 * MIB));
    later(23 * HOUR_MS);
    await patchTus(path, 5 * MIB, "a");
    later(3 * HOUR_MS);
    await runDurableObjectAlarm(sessionOf(path));
    const { alarm } = await storageOf(path);
    expect(await runWatchdog(path)).toEqual([]);
    expect((await storageOf(path)).alarm).toBe(alarm);
    expect(await tended(path)).toEqual([{ id: idOf(path), tend_at_ms: Number(alarm) + HOUR_MS }]);
  });

  test("a session of the version before, and the next ones have their turn", async () => {
    const path = await createTus({ "Upload-Length": 6 * MIB });
    await patchTus(path, 0, bytesOf(5 * MIB + 1));
    later(26 * HOUR_MS);
    await loseAlarm(path);
    platform.addFault({ kind: "older", binding: "UPLOAD_SESSION", method: "tend" });
    expect(await runWatchdog(path)).toEqual([]);
    expect(await tended(path)).toEqual([{ id: idOf(path), tend_at_ms: Date.now() + HOUR_MS }]);
  });

  test("a session that cannot be reached, but the log says so", async () => {
    const path = await createTus({ "Upload-Length": 6 * MIB });
    await patchTus(path, 0, bytesOf(5 * MIB + 1));
    later(26 * HOUR_MS);
    platform.addFault({ kind: "overloaded", binding: "UPLOAD_SESSION", method: "tend" });
    expect(await runWatchdog(path)).toMatchObject([
      { level: "error", message: "an upload could not be tended" },
    ]);
    expect((await tended(path))[0]?.tend_at_ms).toBe(Date.now() + 600_000);
  });
});

test("an upload with a task is asked after an hour, and starts it", async () => {
  const path = await createTus({ "Upload-Length": 5, ...metadata({ task: "verify_file" }) });
  await replaceBucket(path, () => ({ put: async () => Promise.reject(new Error("R2 is not available")) }));
  await patchTus(path, 0, "hello");
  await replaceBucket(path, () => ({}));
  later(1.1 * HOUR_MS);
  await loseAlarm(path);
  await runWatchdog(path);
  expect((await storedRecord(path)).taskId).not.toBeNull();
});

test("an upload that is complete, and has no task to start, is not asked before it has expired", async () => {
  const path = await uploadTus("hello");
  const [row] = await tended(path);
  expect(Number(row?.tend_at_ms) - Date.now()).toBeGreaterThan(24 * HOUR_MS);
  later(25.5 * HOUR_MS);
  await loseAlarm(path);
  await runWatchdog(path);
  expect([await storageOf(path), await tended(path)]).toEqual([EMPTY_STORAGE, []]);
  expect((await fileOf(path)).sha256).toBe(sha256("hello"));
});

test("at most fifty are asked in one go, those that are latest first", async () => {
  const path = await createTus({ "Upload-Length": 5 });
  const catalogue = catalogueOf(env, idOf(path));
  await runInDurableObject(catalogue, (_, { storage }) => {
    for (let i = 0; i < 60; i++)
      storage.sql.exec("INSERT INTO session VALUES (?, ?, ?)", `b${i}`, crypto.randomUUID(), i);
  });
  const usage = await platform.measure(async () => runWatchdog(path));
  expect(usage.objectRequests).toBeLessThanOrEqual(52);
  expect((await tended(path)).map(({ tend_at_ms }) => tend_at_ms)).toEqual(expect.arrayContaining([50, 59]));
  expect(await tended(path)).toHaveLength(10);
});
