/**
 * tus's concatenation: partial uploads, their total size, and the final upload that is made of them. And uploads
 * that are used through both protocols.
 */
import { describe, expect, test } from "vitest";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  changeRecord,
  createTus,
  fileOf,
  headTus,
  idOf,
  NO_UPLOAD,
  PARTIAL,
  patchTus,
  pathOf,
  postTus,
  send,
  TUS,
  TUS_TYPE,
  uploadTus,
} from "../../support/uploads.ts";

keepQuiet();

const base64 = (text: string) => Buffer.from(text).toString("base64");

describe("concatenation", () => {
  const final = (...urls: string[]) => postTus({ "Upload-Concat": `final;${urls.join(" ")}` });
  const absolute = (path: string) => `http://localhost${path}`;

  test("joins partial uploads in the order in which they are named", async () => {
    const [a, b] = [await uploadTus("hello ", PARTIAL), await uploadTus("world", PARTIAL)];
    const concat = `final;${absolute(b)} ${a}`;
    const response = await postTus({
      "Upload-Concat": concat,
      "Upload-Metadata": `filename ${base64("x.txt")}`,
    });
    expect(response.status).toBe(201);
    const head = await headTus(pathOf(response));
    expect(head.has("Upload-Offset", "Upload-Length", "Upload-Concat", "Content-Location")).toEqual({
      "Upload-Offset": "11",
      "Upload-Length": "11",
      "Upload-Concat": concat,
      "Content-Location": absolute(`/files/${idOf(pathOf(response))}`),
    });
    const file = await fileOf(pathOf(response));
    expect([file.status, file.sha256]).toEqual([200, sha256("worldhello ")]);
    expect(file.headers.get("Content-Disposition")).toContain("x.txt");
  });

  test("a partial upload says that it is one, and does not become a file", async () => {
    const path = await uploadTus("hello", PARTIAL);
    const head = await headTus(path);
    expect(head.has("Upload-Concat", "Upload-Offset", "Content-Location")).toEqual({
      "Upload-Concat": "partial",
      "Upload-Offset": "5",
      "Content-Location": null,
    });
    expect((await fileOf(path)).status).toBe(404);
  });

  test("the metadata of a partial upload is not that of the final one, and it can be used again", async () => {
    const path = await uploadTus("hello", { ...PARTIAL, "Upload-Metadata": "filename YS50eHQ=" });
    for (let i = 0; i < 2; i++) {
      const response = await final(path);
      expect((await headTus(pathOf(response))).headers.get("Upload-Metadata")).toBeNull();
      expect((await fileOf(pathOf(response))).sha256).toBe(sha256("hello"));
    }
  });

  test("of partial uploads without bytes makes a file without bytes", async () => {
    const empty = async () => createTus({ ...PARTIAL, "Upload-Length": 0 });
    const response = await final(await empty(), await empty());
    expect(response.status).toBe(201);
    expect(await fileOf(pathOf(response))).toMatchObject({ status: 200, size: 0 });
  });

  test("a final upload takes no bytes", async () => {
    const response = await final(await uploadTus("hello", PARTIAL));
    expect((await patchTus(pathOf(response), 5, "!")).status).toBe(403);
    expect((await patchTus(pathOf(response), 5, null)).status).toBe(403);
    expect((await fileOf(pathOf(response))).sha256).toBe(sha256("hello"));
  });

  test("a final upload that is not concatenated yet has no offset", async () => {
    const path = pathOf(await final(await uploadTus("hello", PARTIAL)));
    await changeRecord(path, { phase: "receiving", offset: 0 });
    const head = await headTus(path);
    expect([head.status, head.headers.get("Upload-Offset"), head.headers.get("Upload-Length")]).toEqual([
      200,
      null,
      "5",
    ]);
  });

  test.each<
    [string, (parts: { done: string; open: string; whole: string }) => Record<string, string>, number]
  >([
    ["a complete partial upload", ({ done }) => ({ "Upload-Concat": `final;${done}` }), 201],
    ["a partial upload that is not complete", ({ open }) => ({ "Upload-Concat": `final;${open}` }), 201],
    ["an upload that is not partial", ({ whole }) => ({ "Upload-Concat": `final;${whole}` }), 400],
    ["a partial upload that does not exist", () => ({ "Upload-Concat": `final;${NO_UPLOAD}` }), 400],
    ["something that is not an upload", () => ({ "Upload-Concat": "final;/files/x" }), 400],
    ["no partial uploads", () => ({ "Upload-Concat": "final;" }), 400],
    ["a word other than final", ({ done }) => ({ "Upload-Concat": `last;${done}` }), 400],
    ["a length", ({ done }) => ({ "Upload-Concat": `final;${done}`, "Upload-Length": "5" }), 400],
  ])("of %s", async (_name, headers, status) => {
    const done = await uploadTus("hello", PARTIAL);
    const open = await createTus({ ...PARTIAL, "Upload-Length": 5 });
    const whole = await uploadTus("hello");
    expect((await postTus(headers({ done, open, whole }))).status).toBe(status);
  });

  test("with bytes of its own is rejected", async () => {
    const part = await uploadTus("hello", PARTIAL);
    expect((await postTus({ "Upload-Concat": `final;${part}`, ...TUS_TYPE }, "more")).status).toBe(400);
  });

  test("of more than the maximum is rejected", async () => {
    const parts = [await uploadTus("hello", PARTIAL), await uploadTus("world", PARTIAL)];
    const concat = { ...TUS, "Upload-Concat": `final;${parts.join(" ")}` };
    expect(
      (await send("POST", "/uploads", { variables: { MAX_FILE_BYTES: 10 }, headers: concat })).status,
    ).toBe(201);
    expect(
      (await send("POST", "/uploads", { variables: { MAX_FILE_BYTES: 9 }, headers: concat })).status,
    ).toBe(413);
  });
});

describe("an upload that is created in the IETF draft and finished in tus", () => {
  const draft = async (version: number, headers: Record<string, number>, body: string | null) => {
    const isLast = version === 3 ? { "Upload-Incomplete": "?1" } : { "Upload-Complete": "?0" };
    const allHeaders = { "Upload-Draft-Interop-Version": version, ...isLast, ...headers };
    const response = await send("POST", "/uploads", { body, headers: allHeaders });
    expect([response.status, response.headers.get("Upload-Offset")]).toEqual([
      201,
      String(body?.length ?? 0),
    ]);
    return pathOf(response);
  };
  const expectHello = async (path: string) => {
    const head = await headTus(path);
    expect(head.has("Upload-Offset", "Upload-Length", "Content-Location")).toEqual({
      "Upload-Offset": "5",
      "Upload-Length": "5",
      "Content-Location": `http://localhost/files/${idOf(path)}`,
    });
    expect(await fileOf(path)).toMatchObject({ status: 200, sha256: sha256("hello") });
  };

  test.each([3, 6, 7, 8])("is complete with its last byte, from version %i", async (version) => {
    const path = await draft(version, { "Upload-Length": 5 }, "hel");
    expect((await headTus(path)).has("Upload-Offset", "Upload-Length")).toEqual({
      "Upload-Offset": "3",
      "Upload-Length": "5",
    });
    expect((await patchTus(path, 3, "l")).status).toBe(204);
    expect((await fileOf(path)).status).toBe(404);
    expect((await patchTus(path, 4, "o")).status).toBe(204);
    await expectHello(path);
  });

  test("is complete when tus announces its length", async () => {
    const path = await draft(8, {}, "hel");
    expect((await headTus(path)).headers.get("Upload-Defer-Length")).toBe("1");
    expect((await patchTus(path, 3, "lo", { headers: { "Upload-Length": 5 } })).status).toBe(204);
    await expectHello(path);
  });

  test("is complete when tus appends no bytes to all that arrived", async () => {
    const path = await draft(8, { "Upload-Length": 5 }, "hello");
    expect((await fileOf(path)).status).toBe(404);
    expect((await patchTus(path, 5, null)).status).toBe(204);
    await expectHello(path);
  });
});
