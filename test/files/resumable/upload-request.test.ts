/**
 * Uploads made of uploads (tus's concatenation): the pieces, their sum, and what is put together of them. And
 * uploads that both protocols have a hand in.
 */
import { describe, expect, test } from "vitest";
import { keepQuiet } from "../../support/quiet.ts";
import {
  CHUNK,
  changeRecord,
  createTus,
  fileOf,
  headTus,
  idOf,
  patchTus,
  pathOf,
  postTus,
  send,
  sha256,
  TUS,
  uploadTus,
} from "../../support/uploads.ts";

keepQuiet();

const chunkType = { "Content-Type": CHUNK["Content-Type"] };
const base64 = (text: string) => Buffer.from(text).toString("base64");
const nowhere = "/uploads/0190a2b4-0000-7000-8000-000000000000";

describe("concatenation", () => {
  const partial = { "Upload-Concat": "partial" };
  const final = (...urls: string[]) => postTus({ "Upload-Concat": `final;${urls.join(" ")}` });
  const absolute = (path: string) => `http://localhost${path}`;

  test("puts partial uploads together, in the order they are named", async () => {
    const [a, b] = [await uploadTus("hello ", partial), await uploadTus("world", partial)];
    const concat = `final;${absolute(b)} ${a} ${absolute(b)}`;
    const answer = await postTus({
      "Upload-Concat": concat,
      "Upload-Metadata": `filename ${base64("x.txt")}`,
    });
    expect(answer.status).toBe(201);
    const head = await headTus(pathOf(answer));
    expect(head.has("Upload-Offset", "Upload-Length", "Upload-Concat", "Content-Location")).toEqual({
      "Upload-Offset": "16",
      "Upload-Length": "16",
      "Upload-Concat": concat,
      "Content-Location": absolute(`/files/${idOf(pathOf(answer))}`),
    });
    const file = await fileOf(pathOf(answer));
    expect([file.status, file.sha256]).toEqual([200, sha256("worldhello world")]);
    expect(file.headers.get("Content-Disposition")).toContain("x.txt");
  });

  test("a partial upload says that it is one, and becomes no file", async () => {
    const path = await uploadTus("hello", partial);
    const head = await headTus(path);
    expect(head.has("Upload-Concat", "Upload-Offset", "Content-Location")).toEqual({
      "Upload-Concat": "partial",
      "Upload-Offset": "5",
      "Content-Location": null,
    });
    expect((await fileOf(path)).status).toBe(404);
  });

  test("the metadata of a partial upload are not the final one's, and it can be used again", async () => {
    const path = await uploadTus("hello", { ...partial, "Upload-Metadata": "filename YS50eHQ=" });
    for (let i = 0; i < 2; i++) {
      const answer = await final(path);
      expect((await headTus(pathOf(answer))).headers.get("Upload-Metadata")).toBeNull();
      expect((await fileOf(pathOf(answer))).sha256).toBe(sha256("hello"));
    }
  });

  test("of partial uploads without bytes is a file without bytes", async () => {
    const empty = await createTus({ ...partial, "Upload-Length": 0 });
    const answer = await final(empty, empty);
    expect(answer.status).toBe(201);
    expect(await fileOf(pathOf(answer))).toMatchObject({ status: 200, size: 0 });
  });

  test("a final upload takes no bytes", async () => {
    const answer = await final(await uploadTus("hello", partial));
    expect((await patchTus(pathOf(answer), 5, "!")).status).toBe(403);
    expect((await patchTus(pathOf(answer), 5, null)).status).toBe(403);
    expect((await fileOf(pathOf(answer))).sha256).toBe(sha256("hello"));
  });

  test("a final upload that is not together yet has no offset", async () => {
    const path = pathOf(await final(await uploadTus("hello", partial)));
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
    ["a complete part", ({ done }) => ({ "Upload-Concat": `final;${done}` }), 201],
    ["a part that is not complete", ({ open }) => ({ "Upload-Concat": `final;${open}` }), 409],
    ["an upload that is no part", ({ whole }) => ({ "Upload-Concat": `final;${whole}` }), 400],
    ["a part that is not there", () => ({ "Upload-Concat": `final;${nowhere}` }), 400],
    ["something that is no upload", () => ({ "Upload-Concat": "final;/files/x" }), 400],
    ["no parts", () => ({ "Upload-Concat": "final;" }), 400],
    ["another word", ({ done }) => ({ "Upload-Concat": `last;${done}` }), 400],
    ["a length", ({ done }) => ({ "Upload-Concat": `final;${done}`, "Upload-Length": "5" }), 400],
  ])("of %s", async (_name, headers, status) => {
    const done = await uploadTus("hello", partial);
    const open = await createTus({ ...partial, "Upload-Length": 5 });
    const whole = await uploadTus("hello");
    expect((await postTus(headers({ done, open, whole }))).status).toBe(status);
  });

  test("with bytes of its own is refused", async () => {
    const part = await uploadTus("hello", partial);
    expect((await postTus({ "Upload-Concat": `final;${part}`, ...chunkType }, "more")).status).toBe(400);
  });

  test("of more than the maximum is refused", async () => {
    const part = await uploadTus("hello", partial);
    const concat = { ...TUS, "Upload-Concat": `final;${part} ${part}` };
    expect(
      (await send("POST", "/uploads", { variables: { MAX_FILE_BYTES: 10 }, headers: concat })).status,
    ).toBe(201);
    expect(
      (await send("POST", "/uploads", { variables: { MAX_FILE_BYTES: 9 }, headers: concat })).status,
    ).toBe(413);
  });
});

describe("an upload that is begun in the IETF draft, and finished in tus", () => {
  const draft = async (version: number, headers: Record<string, number>, body: string | null) => {
    const isLast = version === 3 ? { "Upload-Incomplete": "?1" } : { "Upload-Complete": "?0" };
    const said = { "Upload-Draft-Interop-Version": version, ...isLast, ...headers };
    const answer = await send("POST", "/uploads", { body, headers: said });
    expect([answer.status, answer.headers.get("Upload-Offset")]).toEqual([201, String(body?.length ?? 0)]);
    return pathOf(answer);
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

  test("is complete when tus says how long it is", async () => {
    const path = await draft(8, {}, "hel");
    expect((await headTus(path)).headers.get("Upload-Defer-Length")).toBe("1");
    expect((await patchTus(path, 3, "lo", { headers: { "Upload-Length": 5 } })).status).toBe(204);
    await expectHello(path);
  });

  test("is complete when tus adds nothing to what is all here", async () => {
    const path = await draft(8, { "Upload-Length": 5 }, "hello");
    expect((await fileOf(path)).status).toBe(404);
    expect((await patchTus(path, 5, null)).status).toBe(204);
    await expectHello(path);
  });
});
