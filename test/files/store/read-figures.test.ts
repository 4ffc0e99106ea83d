/** The figures of the catalogues: what became of uploads. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { readFileFigures } from "../../../src/files/store/read-figures.ts";
import { CATALOGUES, catalogueNamed } from "../../../src/files/store/shards.ts";
import { addTallies, type Figures } from "../../../src/kernel/tally.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
const ALL = CATALOGUES.map((name) => `FILE_CATALOGUE/${name}`);

/** Of all catalogues together. */
async function figures(): Promise<Figures> {
  const all = (await readFileFigures(env, ALL)).flatMap((reading) => reading.figures ?? []);
  expect(all).toHaveLength(CATALOGUES.length);
  return {
    counts: addTallies(all.map(({ counts }) => counts)),
    gauges: addTallies(all.map(({ gauges }) => gauges)),
  };
}

beforeEach(async () => {
  await reset();
  await figures();
});

const put = async (path: string, body: string, headers = {}) =>
  callForJson(path, { method: "PUT", body, headers });

test("uploads that became files, with their bytes, and those that did not", async () => {
  expect((await put("/files/a", "12345")).status).toBe(201);
  expect((await put("/files/a", "123")).status).toBe(200);
  const digest = { "Content-Digest": `sha-256=:${Buffer.alloc(32).toString("base64")}:` };
  expect((await put("/files/b", "12345", digest)).status).toBe(400);
  const { counts, gauges } = await figures();
  expect(counts).toMatchObject({
    begun: 3,
    finished: 2,
    bytes: 8,
    "broken-off|digest": 1,
    "checksum|file": 1,
  });
  // The version that was replaced, and what was discarded.
  expect([gauges["strays|reserved"], gauges["strays|due"]]).toEqual([0, 2]);
});

describe("a resumable upload", () => {
  const tus = { "Tus-Resumable": "1.0.0" };
  const create = async (headers = {}) => {
    const { response } = await callWorker("/uploads", {
      method: "POST",
      headers: { ...tus, "Upload-Length": "5", ...headers },
    });
    return new URL(response.headers.get("Location") ?? "").pathname;
  };
  const append = async (path: string, body: string, checksum = {}) => {
    const type = { "Content-Type": "application/offset+octet-stream" };
    const headers = { ...tus, "Upload-Offset": "0", ...type, ...checksum };
    const { response, settled } = await callWorker(path, { method: "PATCH", headers, body });
    await settled();
    return response.status;
  };

  test("is one as soon as its bytes go to R2", async () => {
    expect(await append(await create(), "12345")).toBe(204);
    // Its two bytes wait in its session for more.
    expect(await append(await create(), "12")).toBe(204);
    expect((await figures()).counts).toMatchObject({ begun: 1, finished: 1, bytes: 5 });
  });

  test("whose chunk has a wrong checksum has not broken off, and the checksum is counted", async () => {
    const path = await create();
    const wrong = { "Upload-Checksum": `sha1 ${Buffer.alloc(20).toString("base64")}` };
    for (let i = 0; i < 2; i++) expect(await append(path, "12345", wrong)).toBe(460);
    expect(await append(path, "12345")).toBe(204);
    await expect.poll(async () => (await figures()).counts["checksum|chunk"]).toBe(2);
    const { counts } = await figures();
    expect(counts).toMatchObject({ finished: 1 });
    expect(Object.keys(counts).filter((key) => /^broken-off|^checksum.file/.test(key))).toEqual([]);
  });

  test("whose whole has a wrong digest has broken off for that", async () => {
    const digest = `sha-256=:${Buffer.alloc(32).toString("base64")}:`;
    const { status } = await callForJson("/uploads", {
      method: "POST",
      headers: { "Upload-Draft-Interop-Version": "8", "Upload-Complete": "?1", "Repr-Digest": digest },
      body: "12345",
    });
    expect(status).toBe(400);
    expect((await figures()).counts).toMatchObject({ "broken-off|digest": 1, "checksum|file": 1 });
  });
});

test("only catalogues that exist are asked", async () => {
  const asked = await readFileFigures(env, ["FILE_CATALOGUE/c3", "TASK_LEDGER/s0", "FILE_CATALOGUE/c99"]);
  expect(asked.map(({ name }) => name)).toEqual(["c3"]);
  expect((await catalogueNamed(env, "c3").figures()).counts).toEqual(asked[0]?.figures?.counts);
});
