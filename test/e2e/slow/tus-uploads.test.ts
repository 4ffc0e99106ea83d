/** Resumable uploads with tus-js-client over real HTTP: in parts, of unknown length, paused, and removed. */
import { createReadStream, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { PassThrough } from "node:stream";
import { Upload } from "tus-js-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../../support/dev-server.ts";
import { type Server, startOnMiniflare } from "../../support/node/built-worker.ts";
import {
  bytes,
  expectFile,
  few,
  idOf,
  interruptUpload,
  MIB,
  PROTOCOLS,
  readFile,
  send,
  sha256,
  some,
  startUpload,
} from "../../support/node/tus-client.ts";

const desk = temporaryFolder();
const reportPath = join(desk.path, "report.bin");
let server: Server;

beforeAll(async () => {
  writeFileSync(reportPath, bytes);
  server = await startOnMiniflare({}); // not the shared one: that one has enough to do
});
afterAll(() => desk.remove());

test.each([
  ["a stream of any kind", bytes, () => createReadStream(reportPath).pipe(new PassThrough())],
  ["a buffer", some, () => some],
])("of a length that is announced at the end, from %s", async (_, content, open) => {
  const options = { uploadLengthDeferred: true, chunkSize: 5_000_000 };
  await expectFile(server.url, await send(server.url, open(), options), content);
});

test("from a file that is read while it is sent", async () => {
  await expectFile(
    server.url,
    await send(server.url, createReadStream(reportPath), { chunkSize: 5_000_000 }),
    bytes,
  );
});

test.each([
  {},
  { chunkSize: 100_000 },
  { parallelUploads: 3 },
  { uploadDataDuringCreation: true },
  { protocol: "ietf-draft-05" },
])("to an endpoint with a slash at the end, with %o", async (options) => {
  const id = await send(server.url, Buffer.from(few), { endpoint: `${server.url}/uploads/`, ...options });
  await expectFile(server.url, id, few);
});

test("GET of the URL of a finished upload downloads the file", async () => {
  const { upload, ended } = startUpload(server.url, few);
  await ended;
  const response = await fetch(String(upload.url));
  expect([response.status, sha256(await response.bytes())]).toEqual([200, sha256(few)]);
  const part = await fetch(String(upload.url), { headers: { Range: "bytes=0-9" } });
  expect([part.status, sha256(await part.bytes())]).toEqual([206, sha256(few.subarray(0, 10))]);
});

test("a final upload that is created first becomes the file when its parts are complete", async () => {
  const cut = 5_000_000;
  const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
  const TUS = { "Tus-Resumable": "1.0.0" };
  const post = async (headers: Record<string, string>) => {
    const response = await fetch(`${server.url}/uploads/`, {
      method: "POST",
      headers: { ...TUS, ...headers },
    });
    expect(response.status).toBe(201);
    return String(response.headers.get("Location"));
  };
  const partial = async (part: Uint8Array) =>
    post({ "Upload-Concat": "partial", "Upload-Length": String(part.length) });
  const urls = [await partial(a), await partial(b)];
  const final = await post({ "Upload-Concat": `final;${urls.join(" ")}` });
  for (const [i, part] of [a, b].entries())
    await startUpload(server.url, Buffer.from(part), { uploadUrl: urls[i] ?? null }).ended;
  await expect
    .poll(async () => (await readFile(server.url, basename(final))).digest, { timeout: 15_000 })
    .toBe(sha256(bytes));
});

test.each([
  [2, bytes],
  [3, some],
  [7, some],
])("in %i parallel uploads", async (parallelUploads, content) => {
  const id = await send(server.url, content, { parallelUploads });
  await expectFile(server.url, id, content);
  expect((await readFile(server.url, id)).headers.get("Content-Disposition")).toContain(
    "r%C3%B6ntgen%201.txt",
  );
});

test.each(PROTOCOLS)("paused, and resumed at its offset, speaking %s", async (protocol) => {
  const { uploadUrl, acknowledged } = await interruptUpload(server.url, ({ upload }) => upload.abort(), {
    protocol,
  });
  const resumedAt: number[] = [];
  const onProgress = (sent: number) => resumedAt.push(sent);
  const run = startUpload(server.url, some, { protocol, uploadUrl, onProgress });
  await run.ended;
  expect(resumedAt[0]).toBeGreaterThanOrEqual(acknowledged);
  expect(acknowledged).toBeGreaterThanOrEqual(3 * MIB);
  await expectFile(server.url, idOf(run.upload), some);
});

test("a terminated upload is gone, complete or not", async () => {
  const { uploadUrl } = await interruptUpload(server.url, ({ upload }) => upload.abort(true), {});
  expect((await readFile(server.url, basename(uploadUrl))).status).toBe(404);
  const done = startUpload(server.url, few);
  await done.ended;
  await expectFile(server.url, idOf(done.upload), few);
  await Upload.terminate(String(done.upload.url));
  expect((await readFile(server.url, idOf(done.upload))).status).toBe(404);
  const headers = { "Tus-Resumable": "1.0.0" };
  for (const url of [uploadUrl, String(done.upload.url)]) {
    expect((await fetch(url, { method: "HEAD", headers })).status).toBe(404);
  }
});
