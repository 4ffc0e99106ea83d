/** The quota of stored bytes: its rule, a model of uploads that come at once, and what it does on the real runtime. */
import { env, evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { array, assert, integer, nat, option, property, record } from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { openDraft } from "../../../src/files/index.ts";
import { settle, sumOf } from "../../../src/files/store/byte-quota.ts";
import { saveFile } from "../../../src/files/store/save-file.ts";
import { CATALOGUES, catalogueNamed, catalogueNameOf } from "../../../src/files/store/shards.ts";
import { putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { NOTHING, whatIsLeft } from "../../support/stored.ts";
import { CHUNK, PARTIAL, send, TUS, type UploadResponse } from "../../support/uploads.ts";

keepQuiet();
beforeEach(async () => reset());

const ALICE = "token-of-alice-with-32-characters";
const BOB = "token-of-bob-with-32-characters-..";
const scopes = ["read", "write"];

/** Alice's quota, and that of all. */
interface Quotas {
  own?: number;
  all?: number;
}
const using = ({ own, all }: Quotas) => ({
  SLUICE_TOKENS: [
    { name: "alice", scopes, token: ALICE, ...(own !== undefined && { quota: { stored_bytes: own } }) },
    { name: "bob", scopes, token: BOB },
  ],
  QUOTAS: all === undefined ? {} : { stored_bytes: all },
});

const sendAs = async (
  quotas: Quotas,
  method: string,
  path: unknown,
  { body, headers = {}, token = ALICE }: { body?: BodyInit; headers?: object; token?: string } = {},
) =>
  send(method, new URL(String(path), "http://localhost").pathname, {
    body: body ?? null,
    variables: using(quotas),
    headers: { ...headers, Authorization: `Bearer ${token}` },
  });

const put = async (id: string, size: number, quotas: Quotas, token = ALICE) =>
  sendAs(quotas, "PUT", `/files/${id}`, { body: "x".repeat(size), token });

/** A body whose length nobody knows before its end. */
const unknown = (size: number) => new Blob(["x".repeat(size)]).stream();

/** What all shards count for an owner, and for everybody. */
const use = async (owner: string | null = "alice") =>
  sumOf(await Promise.all(CATALOGUES.map(async (name) => catalogueNamed(env, name).byteUse(owner))));

/** The same, from the files themselves. */
async function storedBytes(): Promise<number> {
  const sizes = await Promise.all(
    CATALOGUES.map(async (name) => (await catalogueNamed(env, name).totals(0, 0)).kept.bytes),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

const expectRefused = (response: UploadResponse, of: string, limit: number, left: number) => {
  expect(response.status).toBe(507);
  expect(response.body).toMatchObject({ type: "urn:sluice:problem:insufficient-storage", status: 507 });
  expect(response.has("Retry-After", "RateLimit-Policy", "RateLimit")).toEqual({
    "Retry-After": "60",
    "RateLimit-Policy": `"${of}";q=${limit};qu="content-bytes"`,
    RateLimit: `"${of}";r=${left}`,
  });
};

const roomOf = (limit: number | null) => limit ?? Number.POSITIVE_INFINITY;

describe("the rule", () => {
  test("grants all that there is room for, and refuses only what has none", () => {
    assert(
      property(
        record({ token: option(nat(100)), all: option(nat(200)) }),
        record({ own: nat(120), others: nat(120), need: nat(50), more: nat(50) }),
        (limits, { own, others, need, more }) => {
          const want = need + more;
          const granted = settle(limits, { own: own + want, all: own + others + want }, want, need);
          const room = Math.min(roomOf(limits.token) - own, roomOf(limits.all) - own - others);
          expect(typeof granted === "number" ? granted : "refused").toBe(
            room < need ? "refused" : Math.min(want, room),
          );
        },
      ),
    );
  });

  test("keeps to a limit whoever comes at once, and whatever dies", () => {
    // Each upload holds its bytes in its shard, then reads the shards one by one, then knows. Steps of all mix in any order.
    const upload = record({ shard: nat(2), need: integer({ min: 1, max: 40 }), more: nat(40) });
    assert(
      property(
        array(upload, { minLength: 1, maxLength: 6 }),
        array(record({ who: nat(5), dies: nat(30) }), { maxLength: 80 }),
        integer({ min: 1, max: 100 }),
        (uploads, steps, limit) => {
          const states = uploads.map(() => ({ step: 0, held: 0, seen: 0, isAdmitted: false, isDead: false }));
          for (const { who, dies } of steps) {
            const one = uploads[who];
            const state = states[who];
            if (!one || !state || state.isDead || state.step > 4) continue;
            state.isDead = dies === 0;
            const want = one.need + one.more;
            if (state.step === 0) state.held = want;
            else if (state.step <= 3) {
              const inShard = states.filter((_, i) => uploads[i]?.shard === state.step - 1);
              state.seen += inShard.reduce((sum, { held }) => sum + held, 0);
            } else {
              const limits = { token: limit, all: null };
              const settled = settle(limits, { own: state.seen, all: state.seen }, want, one.need);
              state.isAdmitted = typeof settled === "number";
              state.held = typeof settled === "number" ? settled : 0;
            }
            state.step++;
            const admitted = states.filter(({ isAdmitted }) => isAdmitted);
            expect(admitted.reduce((sum, { held }) => sum + held, 0)).toBeLessThanOrEqual(limit);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe("a token with a quota of 100 bytes", () => {
  const QUOTA = { own: 100 };

  test("stores no more, and has room again when a file is gone", async () => {
    expect((await put("q1", 60, QUOTA)).status).toBe(201);
    expectRefused(await put("q2", 60, QUOTA), "stored-bytes", 100, 40);
    expect((await put("q2", 40, QUOTA)).status).toBe(201);
    expect((await put("other", 1000, QUOTA, BOB)).status).toBe(201);
    expect((await sendAs(QUOTA, "DELETE", "/files/q1")).status).toBe(204);
    expect((await put("q3", 60, QUOTA)).status).toBe(201);
    expect(await use()).toEqual({ own: 100, all: 1100 });
  });

  test("has what replaces a file beside it until it is stored", async () => {
    expect((await put("q1", 50, QUOTA)).status).toBe(201);
    expect((await put("q1", 40, QUOTA)).status).toBe(200);
    expectRefused(await put("q1", 70, QUOTA), "stored-bytes", 100, 60);
    expect(await use()).toEqual({ own: 40, all: 40 });
  });

  test("keeps nothing of a body that proves to be too long", async () => {
    expectRefused(await sendAs(QUOTA, "PUT", "/files/q1", { body: unknown(101) }), "stored-bytes", 100, 100);
    const form = new FormData();
    for (const size of [60, 60]) form.append("file", new File(["x".repeat(size)], "a.txt"));
    expectRefused(await sendAs(QUOTA, "POST", "/files", { body: form }), "stored-bytes", 100, 40);
    expect(await whatIsLeft()).toEqual(NOTHING);
    expect(await use()).toEqual({ own: 0, all: 0 });
    const smaller = new FormData();
    for (const size of [60, 30]) smaller.append("file", new File(["x".repeat(size)], "a.txt"));
    expect((await sendAs(QUOTA, "POST", "/files", { body: smaller })).status).toBe(201);
    expect((await sendAs(QUOTA, "PUT", "/files/q1", { body: unknown(10) })).status).toBe(201);
    expect(await use()).toEqual({ own: 100, all: 100 });
  });

  test("never stores more, however many come at once", async () => {
    const all = await Promise.all(Array.from({ length: 12 }, async (_, i) => put(`at-once-${i}`, 30, QUOTA)));
    expect(all.every(({ status }) => status === 201 || status === 507)).toBe(true);
    expect(await storedBytes()).toBeLessThanOrEqual(100);
    // What was refused holds nothing: there is room for as many as fit.
    for (let i = 0; i < 4; i++) await put(`after-${i}`, 30, QUOTA);
    expect(await storedBytes()).toBe(90);
  });

  test("keeps its count when objects die, and counts files that were stored before anybody asked", async () => {
    for (const id of ["q1", "q2", "q3"])
      await putFile(id, "x".repeat(10), {
        variables: using({}),
        headers: { Authorization: `Bearer ${ALICE}` },
      });
    const tables = async (id: string) =>
      runInDurableObject(catalogueNamed(env, catalogueNameOf(id)), (_, { storage }) =>
        storage.sql.exec("SELECT count(*) AS found FROM sqlite_master WHERE name LIKE 'stored_bytes%'").one(),
      );
    expect(await tables("q1")).toEqual({ found: 0 });
    expectRefused(await put("q4", 71, QUOTA), "stored-bytes", 100, 70);
    expect(await tables("q1")).toEqual({ found: 4 });
    // The deployment of the tests has no quota, so an object that starts counts no longer, until somebody asks.
    for (const name of CATALOGUES) await evictDurableObject(catalogueNamed(env, name));
    expect(await tables("q1")).toEqual({ found: 0 });
    expectRefused(await put("q4", 71, QUOTA), "stored-bytes", 100, 70);
  });
});

describe("resumable uploads", () => {
  const QUOTA = { own: 100 };
  const create = async (headers: object, body?: string) =>
    sendAs(QUOTA, "POST", "/uploads", { headers, ...(body !== undefined && { body }) });
  const patch = async (path: unknown, offset: number, body: BodyInit) =>
    sendAs(QUOTA, "PATCH", path, { headers: { ...CHUNK, "Upload-Offset": offset }, body });

  test("hold their length from their creation on, and give it back when they are removed", async () => {
    const first = await create({ ...TUS, "Upload-Length": 60 });
    expect(first.status).toBe(201);
    expectRefused(await create({ ...TUS, "Upload-Length": 60 }), "stored-bytes", 100, 40);
    expectRefused(await create({ ...CHUNK, "Upload-Length": 60 }, "x".repeat(60)), "stored-bytes", 100, 40);
    expectRefused(await put("q1", 41, QUOTA), "stored-bytes", 100, 40);
    const path = first.headers.get("Location");
    expect((await patch(path, 0, "x".repeat(60))).status).toBe(204);
    expect(await use()).toEqual({ own: 60, all: 60 });
    expect((await sendAs(QUOTA, "DELETE", path, { headers: TUS })).status).toBe(204);
    expect(await use()).toEqual({ own: 0, all: 0 });
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("of unknown length keep what was acknowledged, and go on when there is room", async () => {
    expect((await put("q1", 50, QUOTA)).status).toBe(201);
    const path = (await create({ ...TUS, "Upload-Defer-Length": 1 })).headers.get("Location");
    expect((await patch(path, 0, "x".repeat(30))).status).toBe(204);
    const refused = await patch(path, 30, "x".repeat(30));
    expectRefused(refused, "stored-bytes", 100, 50);
    expect(refused.headers.get("Upload-Offset")).toBe("30");
    // What the body of unknown length brings beyond the quota is not taken.
    expectRefused(await patch(path, 30, unknown(30)), "stored-bytes", 100, 50);
    expect((await sendAs(QUOTA, "DELETE", "/files/q1")).status).toBe(204);
    expect((await patch(path, 30, "x".repeat(30))).status).toBe(204);
    expect(await use()).toEqual({ own: 100, all: 100 });
    expectRefused(await put("q2", 1, QUOTA), "stored-bytes", 100, 0);
  });

  test("that are made of others need room beside them", async () => {
    const partials: unknown[] = [];
    for (const text of ["x".repeat(20), "y".repeat(20)])
      partials.push(
        (await create({ ...CHUNK, ...PARTIAL, "Upload-Length": 20 }, text)).headers.get("Location"),
      );
    expect(await use()).toEqual({ own: 40, all: 40 });
    const final = { ...TUS, "Upload-Concat": `final;${partials.join(" ")}` };
    expect((await put("q1", 30, QUOTA)).status).toBe(201);
    expectRefused(await create(final), "stored-bytes", 100, 30);
    expect((await sendAs(QUOTA, "DELETE", "/files/q1")).status).toBe(204);
    expect((await create(final)).status).toBe(201);
    expect((await use()).own).toBe(80);
  });

  test("of the IETF draft are refused alike", async () => {
    const headers = { "Upload-Draft-Interop-Version": 8, "Upload-Complete": "?1" };
    expectRefused(await create(headers, "x".repeat(101)), "stored-bytes", 100, 100);
    expect((await create(headers, "x".repeat(100))).status).toBe(201);
    expect(await use()).toEqual({ own: 100, all: 100 });
  });
});

describe("a quota of all", () => {
  test("is for all tokens, and for what tasks make", async () => {
    const quotas = { own: 500, all: 100 };
    expect((await put("q1", 40, quotas, BOB)).status).toBe(201);
    expectRefused(await put("q2", 61, quotas), "stored-bytes-of-all", 100, 60);
    const worker = { ...env, ...using(quotas), QUOTAS: { stored_bytes: 100 } } as unknown as Env;
    const spec = { id: "made", filename: "made", contentType: "text/plain" };
    const fails = { kind: "insufficient-storage" };
    await expect(saveFile(worker, spec, new Uint8Array(61))).rejects.toMatchObject(fails);
    expect(await saveFile(worker, spec, new Uint8Array(30))).toMatchObject({ size: 30 });
    const draft = await openDraft(worker, { ...spec, id: "draft" });
    await draft.append(new Uint8Array(20));
    await expect(draft.append(new Uint8Array(11))).rejects.toMatchObject(fails);
    await draft.append(new Uint8Array(10));
    expect(await draft.finish()).toMatchObject({ size: 30 });
    expect(await use(null)).toEqual({ own: 60, all: 100 });
  });
});
