/** A resumable upload with tus-js-client, when the runtime is killed: the Worker, its objects and its bucket. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Server } from "../../chaos/files/server.ts";
import { fromWorkshop } from "../../support/node/built-worker.ts";
import { expectFile, idOf, interruptUpload, MIB, some, startUpload } from "../../support/node/tus-client.ts";

let server: Server | undefined;

beforeAll(async () => {
  server = new Server({ main: await fromWorkshop("/built"), isForgetful: false, onLine: () => {} });
  await server.start();
});
afterAll(async () => server?.[Symbol.asyncDispose]());

/** The offset of the upload, from the server. */
async function offsetOf(uploadUrl: string): Promise<number> {
  const response = await fetch(uploadUrl, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } });
  expect(response.status).toBe(200);
  return Number(response.headers.get("Upload-Offset"));
}

test("after a kill -9, resumed on a new server with the same storage: no acknowledged byte is sent twice", async () => {
  if (!server) throw new Error("no server");
  const { url } = server;
  const { uploadUrl, acknowledged } = await interruptUpload(url, async ({ ended }) => {
    await server?.stop();
    await expect(ended).rejects.toThrow();
  });
  expect(acknowledged).toBeGreaterThanOrEqual(3 * MIB);
  await server.start();
  expect(await offsetOf(uploadUrl)).toBeGreaterThanOrEqual(acknowledged);
  const run = startUpload(url, some, { uploadUrl });
  await run.ended;
  await expectFile(url, idOf(run.upload), some);
});
