/** What a client gets behind an edge that compresses what it may: the bytes as they are, and validators that hold. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fetchText, putFile, withEtag } from "../../support/files.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { idOf, uploadTus } from "../../support/uploads.ts";

const TEXT = "0123456789".repeat(200);
const UPLOAD = "an upload that has become a file";
const STRONG = /^"[^"]+"$/;

keepQuiet();
beforeEach(async () => {
  await reset();
  platform.edgeCompresses = true;
});
afterEach(() => {
  platform.reset();
});

const get = async (path: string, headers: Record<string, string> = {}, method = "GET") =>
  fetchText(path, { method, headers: { "Accept-Encoding": "gzip", ...headers } });

const store = async () => {
  const headers = { "Content-Type": "text/plain", "Accept-Encoding": "gzip" };
  const { headers: stored } = await putFile("a.txt", TEXT, { headers });
  return stored;
};

async function pathOf(kind: string): Promise<string> {
  if (kind === UPLOAD) return uploadTus(TEXT, { "Upload-Metadata": "type dGV4dC9wbGFpbg==" });
  await store();
  if (kind === "a file") return "/files/a.txt";
  const headers = { "Content-Type": "application/json" };
  const link = await fetchText("/files/a.txt/links", { method: "POST", body: '{"expires_in": 60}', headers });
  return new URL(JSON.parse(link.text).url).pathname;
}

test.each(["a file", "a link", UPLOAD])("%s is sent as it is", async (kind) => {
  const path = await pathOf(kind);
  const { status, headers, text } = await get(path);
  expect([status, text, headers.get("Content-Encoding")]).toEqual([200, TEXT, null]);
  expect(headers.get("Content-Length")).toBe(String(TEXT.length));
  expect(headers.get("Cache-Control")).toBe("private, no-cache, no-transform");
  const etag = headers.get("ETag") ?? "";
  expect(etag).toMatch(STRONG);

  // That of an upload describes the upload.
  if (kind !== UPLOAD) {
    const { headers: head } = await get(path, {}, "HEAD");
    expect([head.get("ETag"), head.get("Content-Length")]).toEqual([etag, String(TEXT.length)]);
  }
  const rest = await get(path, { Range: "bytes=5-", "If-Range": etag });
  expect([rest.status, rest.text]).toEqual([206, TEXT.slice(5)]);
  const unchanged = await get(path, { "If-None-Match": etag });
  expect([unchanged.status, unchanged.headers.get("ETag")]).toEqual([304, etag]);
  expect(unchanged.headers.get("Cache-Control")).toContain("no-transform");
  const id = kind === UPLOAD ? idOf(path) : "a.txt";
  expect((await get(`/files/${id}`, { "If-Match": etag }, "DELETE")).status).toBe(204);
});

test("the ETag in the response to a PUT is strong too: the next PUT is conditional on it", async () => {
  await store();
  const stored = await store();
  expect(stored.get("ETag")).toMatch(STRONG);
  const headers = withEtag({ "If-Match": '"the-etag"' }, { headers: stored });
  expect((await putFile("a.txt", "new", { headers })).status).toBe(200);
});
