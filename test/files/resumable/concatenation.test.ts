/** Final uploads while they are put together: their pieces may be removed, they themselves too, and R2 may stall. */
import { env, reset, runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { SessionRecord } from "../../../src/files/resumable/session-storage.ts";
import { captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  bytesOf,
  collect,
  createFinal,
  createTus,
  fileOf,
  headTus,
  idOf,
  isMultipartOpen,
  kill,
  MIB,
  NOTHING,
  objectsInR2,
  patchTus,
  pathOf,
  recordOf,
  replaceBucket,
  send,
  sessionOf,
  sha256,
  stalledBody,
  storageOf,
  straysInCatalogue,
  TUS,
  uploadTus,
} from "../../support/uploads.ts";

keepQuiet();

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const PARTIAL = { "Upload-Concat": "partial" };
const HOUR_MS = 3_600_000;

/** A complete partial upload; gives its path. */
const pieceOf = async (bytes: Uint8Array<ArrayBuffer> | string) =>
  bytes.length === 0 ? createTus({ ...PARTIAL, "Upload-Length": 0 }) : uploadTus(bytes, PARTIAL);

const remove = async (path: string) => send("DELETE", path, { headers: TUS });

async function record(path: string): Promise<SessionRecord> {
  const found = await recordOf(path);
  if (!found) throw new Error(`there is no upload at ${path}`);
  return found;
}

/** Begins to put it together, as the alarm does; which does not wait for it. */
const assemble = async (path: string) => expect(await runDurableObjectAlarm(sessionOf(path))).toBe(true);

/** Has the assembly stop before the piece with this number (from 1 on) is read, till it may go on. */
async function holdBefore(path: string, number: number) {
  const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
  const reads: number[] = [];
  await replaceBucket(path, (bucket) => ({
    get: async (key: string, options?: R2GetOptions) => {
      const { range } = options ?? {};
      if (reads.push(range && "offset" in range ? (range.offset ?? 0) : 0) === number) await gate;
      return bucket.get(key, options);
    },
  }));
  await assemble(path);
  await expect.poll(() => reads.length).toBe(number);
  return { goOn, reads };
}

/** Has R2 begin to give the piece with this number, and then neither go on nor end. */
async function stallIn(path: string, number: number) {
  let reads = 0;
  await replaceBucket(path, (bucket) => ({
    get: async (key: string, options?: R2GetOptions) =>
      ++reads === number ? ({ body: stalledBody("l").body } as R2ObjectBody) : bucket.get(key, options),
  }));
  await assemble(path);
  await expect.poll(() => reads).toBe(number);
}

const untilComplete = async (path: string) =>
  expect.poll(async () => (await recordOf(path))?.phase, { timeout: 10_000 }).toBe("complete");

const untilStored = async (path: string, state: object) =>
  expect.poll(async () => storageOf(path)).toEqual(state);

/** The final uploads for which the bytes of a piece are kept. */
const holders = async (path: string) => Object.keys((await record(path)).pins);

describe("while a final upload is put together", () => {
  test("its pieces are kept, although they are removed, and after it they are gone", async () => {
    const pieces = [await pieceOf("hel"), await pieceOf("lo")];
    const path = await createFinal(5, pieces);
    const { goOn } = await holdBefore(path, 1);
    for (const piece of pieces) {
      expect([(await remove(piece)).status, (await headTus(piece)).status]).toEqual([204, 404]);
    }
    await collect();
    expect(await objectsInR2()).toHaveLength(2);
    goOn();
    await untilComplete(path);
    expect(await fileOf(path)).toMatchObject({ status: 200, size: 5, sha256: sha256("hello") });
    for (const piece of pieces) await untilStored(piece, NOTHING);
    await collect();
    expect([await objectsInR2(), await straysInCatalogue()]).toEqual([[(await record(path)).blob], 0]);
  });

  test("its pieces are kept, although they expire", async () => {
    const piece = await pieceOf("hello");
    const path = await createFinal(10, [piece, piece]);
    const { goOn } = await holdBefore(path, 1);
    // What holds them lasts an hour.
    const { expiresAtMs } = await record(piece);
    await sessionOf(piece).pin(idOf(path), expiresAtMs + HOUR_MS);
    vi.useFakeTimers({ toFake: ["Date"], now: expiresAtMs + 1 });
    await runDurableObjectAlarm(sessionOf(piece));
    vi.useRealTimers();
    expect((await record(piece)).phase).toBe("ended");
    goOn();
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hellohello"));
    await untilStored(piece, NOTHING);
  });

  test("pieces that are not removed are held no longer than for it, and stay", async () => {
    const piece = await pieceOf("hello");
    const path = await createFinal(5, [piece]);
    const { goOn } = await holdBefore(path, 1);
    expect(await holders(piece)).toEqual([idOf(path)]);
    goOn();
    await untilComplete(path);
    await expect.poll(async () => holders(piece)).toEqual([]);
    expect((await headTus(piece)).status).toBe(200);
    expect(await objectsInR2()).toHaveLength(2);
  });

  test("a piece that two of them need is kept until both have it", async () => {
    const piece = await pieceOf("hello");
    const [one, two] = [await createFinal(5, [piece]), await createFinal(5, [piece])];
    const [first, second] = [await holdBefore(one, 1), await holdBefore(two, 1)];
    await remove(piece);
    first.goOn();
    await untilComplete(one);
    await expect.poll(async () => holders(piece)).toEqual([idOf(two)]);
    second.goOn();
    await untilComplete(two);
    expect([(await fileOf(one)).sha256, (await fileOf(two)).sha256]).toEqual([
      sha256("hello"),
      sha256("hello"),
    ]);
    await untilStored(piece, NOTHING);
  });

  test("a PATCH is refused at once, and changes nothing", async () => {
    const pieces = [await pieceOf("hel"), await pieceOf("lo")];
    const path = await createFinal(5, pieces);
    const { goOn, reads } = await holdBefore(path, 2);
    for (const [offset, body] of [
      [0, "x"],
      [3, "xx"],
      [5, null],
    ] as const) {
      expect((await patchTus(path, offset, body)).status).toBe(403);
    }
    goOn();
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    // Nor was it begun anew.
    expect(reads).toHaveLength(2);
  });

  test("its removal does not wait for R2, and leaves nothing but the pieces", async () => {
    const pieces = [await pieceOf(bytesOf(5.5 * MIB)), await pieceOf("lo")];
    const path = await createFinal(5.5 * MIB + 2, pieces);
    await stallIn(path, 2);
    await expect.poll(async () => (await record(path)).offset).toBe(5 * MIB);
    const before = await record(path);
    expect(await isMultipartOpen(before)).toBe(true);
    expect((await remove(path)).status).toBe(204);
    expect([await storageOf(path), await isMultipartOpen(before)]).toEqual([NOTHING, false]);
    expect([(await headTus(path)).status, (await fileOf(path)).status]).toEqual([404, 404]);
    expect(await Promise.all(pieces.map(holders))).toEqual([[], []]);
    for (const piece of pieces) await remove(piece);
    await collect();
    expect([await objectsInR2(), await straysInCatalogue()]).toEqual([[], 0]);
  });

  test("its removal removes pieces that were kept only for it", async () => {
    const piece = await pieceOf("hello");
    const path = await createFinal(10, [piece, piece]);
    await stallIn(path, 1);
    await remove(piece);
    expect((await storageOf(piece)).keys).toEqual(["session"]);
    await remove(path);
    expect([await storageOf(path), await storageOf(piece)]).toEqual([NOTHING, NOTHING]);
    await collect();
    expect([await objectsInR2(), await straysInCatalogue()]).toEqual([[], 0]);
  });
});

describe("a final upload is what its pieces are", () => {
  test.each<[string, string[]]>([
    ["one", ["hello"]],
    ["the same twice", ["hello", "hello"]],
    ["some without bytes", ["", "hel", "", "lo", ""]],
    ["all without bytes", ["", ""]],
  ])("%s", async (_name, texts) => {
    const paths = new Map<string, string>();
    for (const text of new Set(texts)) paths.set(text, await pieceOf(text));
    const concat = `final;${texts.map((text) => paths.get(text)).join(" ")}`;
    const answer = await send("POST", "/uploads", { headers: { ...TUS, "Upload-Concat": concat } });
    expect(answer.status).toBe(201);
    const whole = texts.join("");
    expect(await fileOf(pathOf(answer))).toMatchObject({
      status: 200,
      size: whole.length,
      sha256: sha256(whole),
    });
    for (const piece of paths.values()) expect(await holders(piece)).toEqual([]);
  });

  test("also if it is interrupted, and its pieces are removed before it goes on", async () => {
    const [a, b] = [bytesOf(5.5 * MIB, 1), bytesOf(1000, 2)];
    const pieces = [await pieceOf(a), await pieceOf(b)];
    const path = await createFinal(a.length + b.length, pieces);
    await stallIn(path, 2);
    await expect.poll(async () => (await record(path)).offset).toBe(5 * MIB);
    await kill(path);
    for (const piece of pieces) await remove(piece);
    const { goOn, reads } = await holdBefore(path, 1);
    goOn();
    await untilComplete(path);
    expect((await fileOf(path)).sha256).toBe(sha256(Buffer.concat([a, b])));
    // What R2 had of it is not read again.
    expect(reads).toEqual([5 * MIB, 0]);
    for (const piece of pieces) await untilStored(piece, NOTHING);
  });
});

test("a DELETE that comes while a final upload becomes a file removes that file, too", async () => {
  const path = await createFinal(5, [await pieceOf("hello")]);
  const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
  let puts = 0;
  const put = async (key: string, value: ArrayBufferView) => {
    puts++;
    await gate;
    return env.FILES.put(key, value);
  };
  await replaceBucket(path, () => ({ put: put as R2Bucket["put"] }));
  await assemble(path);
  await expect.poll(() => puts).toBe(1);
  const steps: string[] = [];
  const session = sessionOf(path);
  const watched = {
    status: async () => {
      const now = await session.status();
      steps.push(`saw it ${now?.phase}`);
      return now;
    },
    terminate: async () => {
      steps.push("waits for the lock");
      return session.terminate();
    },
  };
  const variables = { UPLOAD_SESSION: { getByName: () => watched } };
  const removed = send("DELETE", path, { headers: TUS, variables });
  await expect.poll(() => steps).toEqual(["saw it sealing", "waits for the lock"]);
  goOn();
  expect((await removed).status).toBe(204);
  expect([(await headTus(path)).status, (await fileOf(path)).status]).toEqual([404, 404]);
});

describe("a final upload that cannot be put together any more", () => {
  const untilGone = async (path: string) =>
    expect.poll(async () => (await headTus(path)).status, { timeout: 5000 }).toBe(404);

  test.each<[string, (piece: string) => Promise<unknown>]>([
    ["a piece", remove],
    [
      "the bytes of a piece",
      async (piece) => {
        await env.FILES.delete((await record(piece)).blob);
      },
    ],
  ])("because it has lost %s ends, says so in the log, and holds nothing", async (_what, vanish) => {
    const pieces = [await pieceOf("hel"), await pieceOf("lo"), await pieceOf("!")] as const;
    const path = await createFinal(6, [...pieces]);
    await vanish(pieces[1]);
    const { lines } = await captureLogs(async () => {
      await assemble(path);
      await untilGone(path);
    });
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: "error",
        message: "a final upload has lost one of its pieces, and is given up",
      }),
    );
    await untilStored(path, NOTHING);
    expect((await fileOf(path)).status).toBe(404);
    expect([await holders(pieces[0]), await holders(pieces[2])]).toEqual([[], []]);
  });

  test("is not said to be begun if that is so before its creation is answered", async () => {
    const piece = await pieceOf("hello");
    // Between the look at the piece and the assembly.
    const UPLOAD_SESSION = {
      getByName: (name: string) => {
        const session = env.UPLOAD_SESSION.getByName(name);
        return {
          piece: async () => session.partial(),
          create: async (spec: Parameters<typeof session.create>[0]) => {
            await remove(piece);
            return session.create(spec);
          },
          assemble: async () => session.concatenate(),
        };
      },
    };
    const headers = { ...TUS, "Upload-Concat": `final;${piece}` };
    const { status } = await send("POST", "/uploads", { headers, variables: { UPLOAD_SESSION } });
    expect(status).toBeGreaterThanOrEqual(400);
  });
});

test("what holds a piece ends by itself, if nobody takes it back", async () => {
  const piece = await pieceOf("hello");
  await sessionOf(piece).pin("nobody", Date.now() + HOUR_MS);
  await remove(piece);
  const { alarm, keys } = await storageOf(piece);
  expect(keys).toEqual(["session"]);
  vi.useFakeTimers({ toFake: ["Date"], now: Number(alarm) - 1 });
  await runDurableObjectAlarm(sessionOf(piece));
  expect((await storageOf(piece)).keys).toEqual(["session"]);
  vi.setSystemTime(Number(alarm) + 1);
  await runDurableObjectAlarm(sessionOf(piece));
  expect(await storageOf(piece)).toEqual(NOTHING);
  await collect();
  expect([await objectsInR2(), await straysInCatalogue()]).toEqual([[], 0]);
});

test.each<[string, () => Promise<string>, boolean]>([
  ["a complete partial upload", async () => pieceOf("hello"), true],
  ["one without bytes", async () => pieceOf(""), true],
  ["one that is not complete", async () => createTus({ ...PARTIAL, "Upload-Length": 5 }), false],
  ["a whole upload", async () => uploadTus("hello"), false],
  ["none", async () => `/uploads/${crypto.randomUUID()}`, false],
])("%s can be held, or not", async (_what, begin, can) => {
  const path = await begin();
  const pinned = await sessionOf(path).pin("somebody", Date.now() + HOUR_MS);
  expect(pinned !== undefined).toBe(can);
  if (!can) expect((await recordOf(path))?.pins ?? {}).toEqual({});
});
