/** Versions of a file over HTTP: neither an ETag nor a date of one is taken for that of another. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { callForJson } from "../../support/call.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { collect } from "../../support/stored.ts";

const NOW = Date.UTC(2030, 0, 1);
const at = (ms: number) => vi.setSystemTime(NOW + ms);

keepQuiet();
beforeEach(async () => {
  await reset();
  vi.useFakeTimers({ toFake: ["Date"], now: NOW + 100 });
});
afterEach(() => {
  vi.useRealTimers();
});

const get = (headers: Record<string, string> = {}, method = "GET") =>
  fetchText("/files/a", { method, headers });
const remove = (headers: Record<string, string> = {}) => get(headers, "DELETE");
const put = (text: string, headers: Record<string, string> = {}, query = "") =>
  callForJson(`/files/a${query}`, { method: "PUT", body: text, headers });
const lastModified = async () => String((await get()).headers.get("Last-Modified"));

describe("an ETag", () => {
  test.each<[string, Record<string, string>, Record<string, string>]>([
    ["type", { "Content-Type": "text/plain" }, { "Content-Type": "image/png" }],
    ["charset", { "Content-Type": "text/plain" }, { "Content-Type": "text/plain; charset=utf-16" }],
    [
      "name",
      { "Content-Disposition": "attachment; filename=a.txt" },
      { "Content-Disposition": "attachment; filename=b.txt" },
    ],
  ])("is another if only the %s of a file is", async (_name, before, after) => {
    const old = await put("same", before);
    const etag = String(old.headers.get("ETag"));
    const now = await put("same", after);
    expect([now.status, now.headers.get("ETag")]).not.toEqual([200, etag]);

    const read = await get({ "If-None-Match": etag });
    expect([read.status, read.headers.get("ETag")]).toEqual([200, now.headers.get("ETag")]);
    expect((await get({ "If-Range": etag, Range: "bytes=0-0" })).status).toBe(200);
    expect((await put("x", { "If-Match": etag })).status).toBe(412);
    expect((await remove({ "If-Match": etag })).status).toBe(412);
    expect((await get()).text).toBe("same");
    expect((await remove({ "If-Match": String(now.headers.get("ETag")) })).status).toBe(204);
  });

  test("is another for the same file put again, which may expire at another time", async () => {
    const etag = String((await put("same")).headers.get("ETag"));
    await put("same", {}, "?expires_in=60");
    expect((await remove({ "If-Match": etag })).status).toBe(412);
    await remove();
    await put("same");
    expect((await remove({ "If-Match": etag })).status).toBe(412);
  });

  test("is the same in the response to PUT, in a download and in the list", async () => {
    const { headers, body } = await put("one");
    const list = await callForJson("/files");
    const etags = [
      body.etag,
      (await get()).headers.get("ETag"),
      (list.body.files as { id: string; etag: string }[]).find(({ id }) => id === body.id)?.etag,
    ];
    expect(etags).toEqual(Array(3).fill(headers.get("ETag")));
    expect(headers.get("ETag")).toMatch(/^"[\w-]+"$/);
  });
});

test("a file that does not change keeps its date, and a client that has it gets a 304", async () => {
  await put("one");
  const date = await lastModified();
  expect(Date.parse(date)).toBe(NOW);
  for (const ms of [200, 999, 1000, 60_000]) {
    at(ms);
    expect(await lastModified()).toBe(date);
    expect((await get({ "If-Modified-Since": date })).status).toBe(304);
    expect((await get({ "If-Unmodified-Since": date })).status).toBe(200);
  }
  expect((await remove({ "If-Unmodified-Since": date })).status).toBe(204);
});

describe("the date of a version is not taken for that of the next, which was made in the same second", () => {
  test.each<[string, () => Promise<unknown>]>([
    ["by PUT", async () => {}],
    ["by DELETE and PUT", async () => remove()],
    [
      "by DELETE and PUT, when the bytes are collected",
      async () => {
        await remove();
        await collect();
      },
    ],
    [
      "by several PUTs and DELETEs",
      async () => {
        for (let i = 0; i < 5; i++) {
          await remove();
          await put(`${i}`);
          await put(`${i} again`);
        }
      },
    ],
  ])("%s", async (_name, before) => {
    await put("one");
    const date = await lastModified();
    const clock = new Date(Date.now()).toUTCString();
    at(300);
    await before();
    expect((await put("other bytes")).status).toBeLessThan(300);
    for (const ms of [400, 999, 1000, 5000]) {
      at(ms);
      for (const since of [date, clock]) {
        const spliced = await get({ "If-Range": since, Range: "bytes=3-" });
        expect([spliced.status, spliced.text]).toEqual([200, "other bytes"]);
        expect((await get({ "If-Modified-Since": since })).status).toBe(200);
        expect((await get({ "If-Unmodified-Since": since })).status).toBe(412);
        expect((await put("x", { "If-Unmodified-Since": since })).status).toBe(412);
        expect((await remove({ "If-Unmodified-Since": since })).status).toBe(412);
      }
      expect(Date.parse(await lastModified())).toBeLessThanOrEqual(NOW + ms);
    }
    // From the next second on it has a date of its own.
    const own = await lastModified();
    expect(own).not.toBe(date);
    expect((await get({ "If-Modified-Since": own })).status).toBe(304);
    expect((await get({ "If-Unmodified-Since": own })).status).toBe(200);
  });

  test("nor if the first one expired in that second, collected or not", async () => {
    for (const isCollected of [true, false]) {
      await put("one", {}, "?expires_in=1");
      const madeAtMs = Date.now();
      at(madeAtMs - NOW + 1000);
      const date = new Date(madeAtMs + 1000).toUTCString();
      if (isCollected) await collect();
      expect((await put("two")).status).toBe(201);
      expect((await get({ "If-Modified-Since": date })).status).toBe(200);
      at(madeAtMs - NOW + 10_000);
      await remove();
      at(madeAtMs - NOW + 20_000);
    }
  });
});

test("Last-Modified is never in the future, however often a file is replaced", async () => {
  for (let i = 0; i < 20; i++) {
    at(100 + i * 10);
    await put(`${i}`);
    expect(Date.parse(await lastModified())).toBe(NOW);
    expect(Date.parse(String((await put(`${i}`)).body.modifiedAt))).toBe(NOW + 100 + i * 10);
  }
  at(1000);
  expect(Date.parse(await lastModified())).toBe(NOW + 1000);
});

test("a version in a later second than the one before has its own second, whatever other files do", async () => {
  await put("one");
  at(200);
  await remove();
  await putFile("b", "x");
  at(1500);
  await put("two");
  expect((await get({ "If-Modified-Since": await lastModified() })).status).toBe(304);
});
