/** What callers get when the objects that keep files are overloaded: a 503 with Retry-After, after one call. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { CallOptions } from "../../support/call.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { FORM_TYPE, filePart, formBody } from "../../support/form.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { CHUNK, createTus, fileOf, headTus, patchTus, send, TUS } from "../../support/uploads.ts";

keepQuiet();
expectRuntimeErrors("Durable Object is overloaded");
beforeEach(async () => {
  await reset();
  platform.reset();
});
afterEach(() => platform.reset());

/** For one call only: a second one would succeed. */
const overload = (binding: string, method: string) =>
  platform.addFault({ kind: "overloaded", binding, method, times: 1 });

const JSON_TYPE = { "Content-Type": "application/json" };

describe("a catalogue:", () => {
  const requests: [string, string, CallOptions?][] = [
    ["find", "/files/a"],
    ["find", "/files/a", { method: "HEAD" }],
    ["find", "/files/a/links", { method: "POST", body: '{"expires_in": 60}', headers: JSON_TYPE }],
    ["list", "/files"],
    ["remove", "/files/a", { method: "DELETE" }],
    ["reserve", "/files/b", { method: "PUT", body: "x" }],
    ["commit", "/files/b", { method: "PUT", body: "x" }],
    ["find", "/files/a", { method: "PUT", body: "x", headers: { "If-Match": '"x"' } }],
    [
      "reserve",
      "/files",
      { method: "POST", body: formBody([filePart("x")]), headers: { "Content-Type": FORM_TYPE } },
    ],
    [
      "commit",
      "/files",
      { method: "POST", body: formBody([filePart("x")]), headers: { "Content-Type": FORM_TYPE } },
    ],
  ];
  test.each(requests)("%s, for %s %j", async (method, path, options) => {
    await putFile("a", "hello");
    overload("FILE_CATALOGUE", method);
    const { status, headers } = await fetchText(path, options);
    expect([status, headers.get("Retry-After")]).toEqual([503, "1"]);
    expect((await fetchText("/files/a")).text).toBe("hello");
    expect((await fetchText("/files/b")).status).toBe(404);
  });
});

describe("an upload session:", () => {
  const requests: [string, (path: string) => ReturnType<typeof send>][] = [
    ["create", async () => send("POST", "/uploads", { headers: { ...TUS, "Upload-Length": 5 } })],
    [
      "append",
      async () => send("POST", "/uploads", { headers: { ...CHUNK, "Upload-Length": 5 }, body: "he" }),
    ],
    ["append", async (path) => patchTus(path, 2, "llo")],
    ["status", async (path) => headTus(path)],
    ["peek", async (path) => send("GET", path)],
    ["status", async (path) => send("GET", path)],
    ["status", async (path) => send("DELETE", path, { headers: TUS })],
    ["terminate", async (path) => send("DELETE", path, { headers: TUS })],
  ];
  test.each(requests)("%s", async (method, request) => {
    const path = await createTus({ "Upload-Length": 5 });
    await patchTus(path, 0, "he");
    overload("UPLOAD_SESSION", method);
    const { status, headers } = await request(path);
    expect([status, headers.get("Retry-After")]).toEqual([503, "1"]);
    expect((await patchTus(path, 2, "llo")).status).toBe(204);
    expect((await fileOf(path)).status).toBe(200);
  });

  test("a rejected creation stays a rejection if the upload cannot be removed", async () => {
    overload("UPLOAD_SESSION", "terminate");
    const headers = { ...CHUNK, "Upload-Length": 5, "Upload-Checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=" };
    expect((await send("POST", "/uploads", { headers, body: "wrong" })).status).toBe(460);
  });
});

test("a commit whose catalogue is overloaded is made up for by the next request on the upload", async () => {
  const path = await createTus({ "Upload-Length": 5 });
  overload("FILE_CATALOGUE", "commit");
  expect((await patchTus(path, 0, "hello")).status).toBe(503);
  expect((await headTus(path)).headers.get("Upload-Offset")).toBe("5");
  expect((await fileOf(path)).status).toBe(200);
});
