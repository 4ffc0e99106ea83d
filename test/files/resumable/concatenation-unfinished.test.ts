/** tus's concatenation-unfinished: a final upload that is created before its partial uploads are complete. */
import { reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import {
  blobsLeft,
  bytesOf,
  changeRecord,
  createTus,
  EMPTY_STORAGE,
  fileOf,
  headTus,
  holdersOf,
  idOf,
  kill,
  MIB,
  PARTIAL,
  patchTus,
  pathOf,
  postTus,
  recordOf,
  send,
  sessionOf,
  storageOf,
  storedRecord,
  TUS,
  uploadTus,
} from "../../support/uploads.ts";

expectRuntimeErrors("killed");

keepQuiet();
expectRuntimeErrors("jsg.Error: killed");

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Partial uploads of these lengths; null: deferred. They have no bytes yet. */
const open = async (...lengths: (number | null)[]) => {
  const paths: string[] = [];
  for (const length of lengths) {
    const header = length === null ? { "Upload-Defer-Length": 1 } : { "Upload-Length": length };
    paths.push(await createTus({ ...PARTIAL, ...header }));
  }
  return paths;
};

const final = async (partials: string[], headers: Record<string, string> = {}) => {
  const response = await postTus({ "Upload-Concat": `final;${partials.join(" ")}`, ...headers });
  expect(response.status, response.text).toBe(201);
  return { path: pathOf(response), response };
};

const remove = async (path: string) => send("DELETE", path, { headers: TUS });
const untilComplete = async (path: string) =>
  expect.poll(async () => (await recordOf(path))?.phase, { timeout: 10_000 }).toBe("complete");
const untilGone = async (path: string) =>
  expect.poll(async () => (await headTus(path)).status, { timeout: 10_000 }).toBe(404);

test("is announced", async () => {
  const { headers } = await send("OPTIONS", "/uploads");
  const extensions = headers.get("Tus-Extension")?.split(",");
  expect(extensions).toEqual(expect.arrayContaining(["concatenation", "concatenation-unfinished"]));
});

describe("while partial uploads are under way", () => {
  test("the final one has no offset, and a length if theirs are known", async () => {
    const [a = "", b = ""] = await open(3, 2);
    const { path, response } = await final([a, b]);
    const names = ["Upload-Offset", "Upload-Length", "Upload-Concat", "Upload-Defer-Length"];
    expect(response.has("Upload-Offset", "Content-Location")).toEqual({
      "Upload-Offset": null,
      "Content-Location": null,
    });
    expect(response.headers.has("Upload-Expires")).toBe(true);
    const head = await headTus(path);
    expect([head.status, head.has(...names)]).toEqual([
      200,
      {
        "Upload-Offset": null,
        "Upload-Length": "5",
        "Upload-Concat": `final;${a} ${b}`,
        "Upload-Defer-Length": null,
      },
    ]);
    expect((await fileOf(path)).status).toBe(404);
    const state = await send("GET", path);
    expect([state.status, state.body?.isComplete]).toEqual([200, false]);
  });

  test("its length is known when the last of theirs is", async () => {
    const [a = "", b = ""] = await open(null, 2);
    const { path } = await final([a, b]);
    expect((await headTus(path)).headers.get("Upload-Length")).toBeNull();
    await patchTus(a, 0, "he", { headers: { "Upload-Length": 3 } });
    await expect.poll(async () => (await headTus(path)).headers.get("Upload-Length")).toBe("5");
    expect((await headTus(path)).headers.get("Upload-Offset")).toBeNull();
  });

  test("it takes no bytes", async () => {
    const { path } = await final(await open(3));
    expect((await patchTus(path, 0, "hel")).status).toBe(403);
  });

  test("they go on as ever, and each is told apart from the whole", async () => {
    const [a = ""] = await open(5);
    await final([a]);
    expect((await patchTus(a, 0, "hel")).status).toBe(204);
    expect((await headTus(a)).has("Upload-Offset", "Upload-Concat")).toEqual({
      "Upload-Offset": "3",
      "Upload-Concat": "partial",
    });
  });

  test("bytes that are appended while it is created are not lost, nor is its pin", async () => {
    const [a = "", b = ""] = await open(6 * MIB, 1);
    const bytes = bytesOf(6 * MIB);
    const appending = patchTus(a, 0, bytes);
    const { path } = await final([a, b]);
    expect((await appending).status).toBe(204);
    await patchTus(b, 0, "!");
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256(Buffer.concat([bytes, Buffer.from("!")])));
  });
});

describe("it becomes the file", () => {
  test.each<[string, number[]]>([
    ["in their order", [0, 1, 2]],
    ["in the reverse order", [2, 1, 0]],
  ])("when they are completed %s", async (_name, order) => {
    const texts = ["hel", "lo ", "world"];
    const partials = await open(...texts.map((text) => text.length));
    const { path } = await final(partials, { "Upload-Metadata": "filename YS50eHQ=" });
    for (const i of order) {
      expect((await fileOf(path)).status).toBe(404);
      await patchTus(partials[i] ?? "", 0, texts[i] ?? "");
    }
    await untilComplete(path);
    const file = await fileOf(path);
    expect([file.status, file.sha256]).toEqual([200, sha256("hello world")]);
    expect(file.headers.get("Content-Disposition")).toContain("a.txt");
    expect((await headTus(path)).has("Upload-Offset", "Upload-Length")).toEqual({
      "Upload-Offset": "11",
      "Upload-Length": "11",
    });
    for (const partial of partials) await expect.poll(async () => holdersOf(partial)).toEqual([]);
  });

  test("of some that were complete before and some that were not", async () => {
    const done = await uploadTus("hel", PARTIAL);
    const [late = ""] = await open(null);
    const { path } = await final([done, late]);
    await patchTus(late, 0, "lo", { headers: { "Upload-Length": 2 } });
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("together with another that needs the same", async () => {
    const [a = ""] = await open(5);
    const [one, two] = [await final([a]), await final([a])];
    await patchTus(a, 0, "hello");
    for (const { path } of [one, two]) {
      await untilComplete(path);
      expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    }
  });

  test("although one that was complete is removed while it still waits for another", async () => {
    const [a = "", b = ""] = await open(3, 2);
    const { path } = await final([a, b]);
    await patchTus(a, 0, "hel");
    expect([(await remove(a)).status, (await headTus(a)).status]).toEqual([204, 404]);
    await patchTus(b, 0, "lo");
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    await expect.poll(async () => storageOf(a)).toEqual(EMPTY_STORAGE);
  });

  test("with the digest that its creation named, or not at all", async () => {
    const repr = (text: string) => ({
      "Repr-Digest": `sha-256=:${Buffer.from(sha256(text), "hex").toString("base64")}:`,
    });
    const [a = ""] = await open(5);
    const [right, wrong] = [await final([a], repr("hello")), await final([a], repr("other"))];
    await patchTus(a, 0, "hello");
    await untilComplete(right.path);
    await untilGone(wrong.path);
    expect((await fileOf(wrong.path)).status).toBe(404);
  });
});

describe("after a crash", () => {
  test("of the final upload while it waits, it still learns what it waits for", async () => {
    const [a = "", b = ""] = await open(3, 2);
    const { path } = await final([a, b]);
    await patchTus(a, 0, "hel");
    await kill(path);
    await patchTus(b, 0, "lo");
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("of a partial between its completion and the news, its alarm tells it again", async () => {
    const [a = ""] = await open(5);
    const { path } = await final([a]);
    const before = await storedRecord(path);
    await patchTus(a, 0, "hello");
    await untilComplete(path);
    // As if neither had gone on.
    await sessionOf(a).pin(idOf(path));
    await changeRecord(path, { ...before, phase: "receiving" });
    expect(Number((await storageOf(a)).alarm) - Date.now()).toBeLessThan(16_000);
    await runDurableObjectAlarm(sessionOf(a));
    await untilComplete(path);
    expect(Number((await storageOf(a)).alarm) - Date.now()).toBeGreaterThan(5 * DAY_MS);
  });

  test("of a partial between its completion and the news, the alarm of the final upload asks it", async () => {
    const [a = ""] = await open(5);
    const { path } = await final([a]);
    // Without a pin, nobody is told.
    await sessionOf(a).unpin(idOf(path));
    await patchTus(a, 0, "hello");
    expect((await recordOf(path))?.phase).toBe("receiving");
    const { alarm } = await storageOf(path);
    expect(Number(alarm) - Date.now()).toBeLessThan(16_000);
    expect(await runDurableObjectAlarm(sessionOf(path))).toBe(true);
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("between its creation and the calls to its partials, the alarm makes them", async () => {
    const [a = ""] = await open(5);
    const { path } = await final([a]);
    await sessionOf(a).unpin(idOf(path));
    await runDurableObjectAlarm(sessionOf(path));
    await expect.poll(async () => holdersOf(a)).toEqual([idOf(path)]);
  });

  test("the alarm asks less and less often", async () => {
    const { path } = await final(await open(5));
    const { createdAtMs } = await storedRecord(path);
    vi.useFakeTimers({ toFake: ["Date"], now: createdAtMs + 4 * HOUR_MS });
    await runDurableObjectAlarm(sessionOf(path));
    await expect.poll(async () => (await storageOf(path)).alarm).toBe(Date.now() + 600_000);
  });
});

describe("it ends", () => {
  test("when a partial upload that is not complete is removed, and the others are kept for nobody", async () => {
    const done = await uploadTus("hel", PARTIAL);
    const [late = ""] = await open(2);
    const { path } = await final([done, late]);
    expect((await remove(late)).status).toBe(204);
    await untilGone(path);
    expect((await fileOf(path)).status).toBe(404);
    await expect.poll(async () => storageOf(path)).toEqual(EMPTY_STORAGE);
    expect([await storageOf(late), await holdersOf(done)]).toEqual([EMPTY_STORAGE, []]);
    await remove(done);
    expect(await blobsLeft()).toEqual({ objects: [], strays: [] });
  });

  test("when one of them expires", async () => {
    const [a = ""] = await open(5);
    const { path } = await final([a]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + DAY_MS + 1000 });
    await runDurableObjectAlarm(sessionOf(a));
    vi.useRealTimers();
    await untilGone(path);
  });

  test("when it is removed itself; the partial uploads go on", async () => {
    const [a = ""] = await open(5);
    const { path } = await final([a]);
    expect((await remove(path)).status).toBe(204);
    expect([await storageOf(path), await holdersOf(a)]).toEqual([EMPTY_STORAGE, []]);
    expect((await patchTus(a, 0, "hello")).status).toBe(204);
  });

  test("when its time is over: as long as its partials may live", async () => {
    const [a = ""] = await open(5);
    const { path } = await final([a]);
    const { expiresAtMs } = await storedRecord(path);
    expect(expiresAtMs - Date.now()).toBeGreaterThan(5 * DAY_MS);
    expect(expiresAtMs).toBeLessThanOrEqual((await storedRecord(a)).createdAtMs + 6 * DAY_MS);
    vi.useFakeTimers({ toFake: ["Date"], now: expiresAtMs + 1 });
    await runDurableObjectAlarm(sessionOf(path));
    expect(await storageOf(path)).toEqual(EMPTY_STORAGE);
  });

  test("when the lengths of its partials, once known, are too long together", async () => {
    const [a = "", b = ""] = await open(30_000_000_000, null);
    const { path } = await final([a, b]);
    await patchTus(b, 0, null, { headers: { "Upload-Length": 30_000_000_000 } });
    await untilGone(path);
    expect([await holdersOf(a), await holdersOf(b)]).toEqual([[], []]);
  });
});

test("lengths that are too long together are rejected at once", async () => {
  const partials = await open(30_000_000_000, 30_000_000_000);
  const response = await postTus({ "Upload-Concat": `final;${partials.join(" ")}` });
  expect([response.status, response.headers.get("Location")]).toEqual([413, null]);
  for (const partial of partials) expect(await holdersOf(partial)).toEqual([]);
});
