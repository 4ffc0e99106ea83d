/**
 * Two releases: each works on what the other has stored, and each Worker calls the objects of the other. During a deploy
 * both run at once, in a gradual one for days, and a rollback puts the older one on the storage of the newer.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { releaseAt, startReleases } from "../../support/node/releases.ts";

type Release = "last" | "this";

const TUS = { "Tus-Resumable": "1.0.0" };
/** The first piece is longer than a part of R2, so a hash is under way and a part is stored. */
const BYTES = randomBytes(7 * 1024 * 1024);
const FIRST = 6 * 1024 * 1024;

const sendJson = (method: string, body: unknown, headers = {}): RequestInit => ({
  method,
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body),
});

async function call(url: string, init?: RequestInit) {
  const response = await fetch(url, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${init?.method ?? "GET"} ${url}: ${response.status} ${text}`);
  return { headers: response.headers, body: text.startsWith("{") ? JSON.parse(text) : text };
}

const patch = async (url: string, upload: string, offset: number, end: number) =>
  call(url + upload, {
    method: "PATCH",
    headers: { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
    body: BYTES.subarray(offset, end),
  });

const LATER = { type: "task_a", input: {}, delay: 3600 };
const KEY = { "Idempotency-Key": '"versions"' };

/** Stores something of each kind. */
async function fill(url: string) {
  const ended = await call(
    `${url}/tasks`,
    sendJson("POST", { type: "task_a", input: {} }, { Prefer: "wait=10" }),
  );
  const later = await call(`${url}/tasks`, sendJson("POST", LATER, KEY));
  const schedule = await call(
    `${url}/schedules`,
    sendJson("POST", { cron: "0 0 1 1 *", type: "task_a", input: {} }),
  );
  await call(`${url}/files/kept.txt`, { method: "PUT", body: "kept" });
  const created = await call(`${url}/uploads`, {
    method: "POST",
    headers: { ...TUS, "Upload-Length": String(BYTES.length) },
  });
  const upload = new URL(created.headers.get("Location") ?? "").pathname;
  await patch(url, upload, 0, FIRST);
  await call(`${url}/upstreams/demo`, sendJson("PATCH", { concurrency: 3 }));
  await call(`${url}/fetch/demo/todos/1`);
  return { ended: ended.body.id, later: later.body.id, schedule: schedule.body.id, upload };
}

/** Checks that all of it is there, and goes on with it. */
async function goOn(url: string, stored: Awaited<ReturnType<typeof fill>>) {
  expect((await call(`${url}/tasks/${stored.ended}`)).body).toMatchObject({ status: "succeeded" });
  expect((await call(`${url}/tasks`, sendJson("POST", LATER, KEY))).body.id).toBe(stored.later);
  const cancelled = await call(`${url}/tasks/${stored.later}/cancel`, { method: "POST" });
  expect(cancelled.body).toMatchObject({ status: "cancelled" });
  expect((await call(`${url}/schedules/${stored.schedule}`)).body).toMatchObject({ type: "task_a" });
  await call(`${url}/schedules/${stored.schedule}`, { method: "DELETE" });
  expect((await call(`${url}/files/kept.txt`)).body).toBe("kept");
  await call(`${url}/files/kept.txt`, { method: "PUT", body: "replaced" });
  expect((await call(`${url}/files/kept.txt`)).body).toBe("replaced");
  expect((await call(`${url}/upstreams/demo`)).body).toMatchObject({ concurrency: 3 });
  await call(`${url}/fetch/demo/todos/1`);
  const again = await call(
    `${url}/tasks`,
    sendJson("POST", { type: "task_a", input: {} }, { Prefer: "wait=10" }),
  );
  expect(again.body).toMatchObject({ status: "succeeded" });
}

/** Sends the rest of the upload, which becomes a file. */
async function finishUpload(url: string, { upload }: Awaited<ReturnType<typeof fill>>) {
  await patch(url, upload, FIRST, BYTES.length);
  const whole = await fetch(url + upload.replace("/uploads/", "/files/"));
  const digest = createHash("sha256").update(BYTES).digest("base64");
  expect(whole.headers.get("Repr-Digest")).toBe(`sha-256=:${digest}:`);
  expect(Buffer.from(await whole.arrayBuffer()).equals(BYTES)).toBe(true);
}

const releases = async (folder: string) => ({
  last: await releaseAt("last", folder),
  this: await releaseAt("this", folder),
});

function storage() {
  const folder = makeTemporaryFolder();
  const storageDir = join(folder.path, "storage");
  mkdirSync(storageDir);
  return { path: folder.path, storageDir, [Symbol.dispose]: folder.remove };
}

describe.concurrent.each<[Release, Release]>([
  ["last", "this"],
  ["this", "last"],
])("the %s release and the %s one", (first, second) => {
  test("on the same storage, one after the other", async () => {
    using place = storage();
    const modules = await releases(place.path);
    const run = async (release: Release) =>
      startReleases({ worker: modules[release], objects: modules[release], storageDir: place.storageDir });
    let stored: Awaited<ReturnType<typeof fill>>;
    {
      await using before = await run(first);
      stored = await fill(before.url);
      // Kept, for the release that knows signals; the other one must not mind.
      if (first === "this") {
        const signal = await call(
          `${before.url}/tasks/${stored.later}/signals/go`,
          sendJson("POST", { go: true }),
        );
        expect(signal.body).toMatchObject({ name: "go" });
      }
    }
    {
      await using after = await run(second);
      await goOn(after.url, stored);
      if (second === "this") {
        await finishUpload(after.url, stored);
        return;
      }
      // The last release cannot go on with the hash, and says so, without harm to the upload.
      await expect(patch(after.url, stored.upload, FIRST, BYTES.length)).rejects.toThrow(/: 50[03] /);
    }
    await using again = await run(first);
    await finishUpload(again.url, stored);
  });

  test("at once: the Worker of one, the objects of the other", async () => {
    using place = storage();
    const modules = await releases(place.path);
    await using server = await startReleases({
      worker: modules[first],
      objects: modules[second],
      storageDir: place.storageDir,
    });
    const stored = await fill(server.url);
    await goOn(server.url, stored);
    await finishUpload(server.url, stored);
    if (first === "last") return;
    await expect(
      call(`${server.url}/tasks/${stored.ended}/signals/go`, sendJson("POST", {})),
    ).rejects.toThrow(/: 503 /);
    // Objects of the last release would drop what follows, so they are not asked to.
    const chain = sendJson("POST", { ...LATER, then: [{ type: "task_b" }] });
    await expect(call(`${server.url}/tasks`, chain)).rejects.toThrow(/: 503 /);
    const schedule = sendJson("POST", { cron: "0 0 1 1 *", type: "task_a", then: [{ type: "task_b" }] });
    await expect(call(`${server.url}/schedules`, schedule)).rejects.toThrow(/: 503 /);
  });
});
