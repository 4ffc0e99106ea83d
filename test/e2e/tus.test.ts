/** Resumable uploads with tus-js-client over real HTTP, in each protocol that it speaks. */

import type { UploadOptions } from "tus-js-client";
import { beforeAll, describe, expect, test } from "vitest";
import { type Server, sharedServer } from "../support/node/built-worker.ts";
import { expectFile, few, PROTOCOLS, readFile, send, some } from "../support/node/tus-client.ts";

let server: Server;

beforeAll(async () => {
  server = await sharedServer();
});

test("the file has the name and type from the metadata", async () => {
  const { headers } = await readFile(server.url, await send(server.url, few));
  expect(headers.get("Content-Type")).toBe("text/plain; charset=utf-8");
  expect(headers.get("Content-Disposition")).toBe(
    `attachment; filename="r?ntgen 1.txt"; filename*=UTF-8''r%C3%B6ntgen%201.txt`,
  );
});

describe.each(PROTOCOLS)("speaking %s", (protocol) => {
  test.each<[string, Uint8Array, UploadOptions]>([
    ["in one request", some, {}],
    ["in chunks of an odd size", some, { chunkSize: 1_000_003 }],
    ["in many small chunks", few, { chunkSize: 10_000 }],
    ["with bytes in the creation", some, { uploadDataDuringCreation: true, chunkSize: 5_500_000 }],
    ["whole in the creation", few, { uploadDataDuringCreation: true }],
    ["by POST in place of PATCH", few, { overridePatchMethod: true, chunkSize: 100_000 }],
    ["of no bytes", few.subarray(0, 0), {}],
  ])("%s", async (_, content, options) => {
    const id = await send(server.url, Buffer.from(content), { protocol, ...options });
    await expectFile(server.url, id, content);
  });
});
