/** Files that the code of the Worker makes. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { findFile } from "../../../src/files/store/file-info.ts";
import { type FileBody, type FileSpec, saveFile } from "../../../src/files/store/save-file.ts";
import { callForJson } from "../../support/call.ts";
import { fetchText, putFile, sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { changed, NOTHING, whatIsLeft } from "../../support/stored.ts";

keepQuiet();
expectRuntimeErrors("Network connection lost", "fixed-length pipe ended", "client disconnected");
beforeEach(() => reset());

const SPEC: FileSpec = { id: "out.txt", filename: "Out.txt", contentType: "text/plain" };
const TEXT = "hello, sluice";
const bytes = (text = TEXT) => new TextEncoder().encode(text);

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield bytes(text);
}

const streamOf = (text = TEXT): ReadableStream<Uint8Array> => {
  const { body } = new Response(text);
  if (!body) throw new Error("no stream");
  return body;
};

const madeInJavaScript = (...texts: string[]) =>
  new ReadableStream<Uint8Array>({
    pull: (controller) => {
      const text = texts.shift();
      if (text === undefined) controller.close();
      else controller.enqueue(bytes(text));
    },
  });

describe("a file is stored", () => {
  test.each<[string, () => FileBody, number | undefined]>([
    ["bytes", () => bytes(), undefined],
    ["a stream of unknown length", () => streamOf(), undefined],
    ["a stream of known length", () => streamOf(), TEXT.length],
    ["a stream made in JavaScript", () => madeInJavaScript("hello, ", "sluice"), undefined],
    ["chunks", () => pieces("hello, ", "", "sluice"), TEXT.length],
  ])("from %s", async (_name, body, length) => {
    const options = length === undefined ? {} : { length };
    const info = await saveFile(env, { ...SPEC, source: "in.txt", task: "s0-task" }, body(), options);
    expect(info).toEqual({
      id: "out.txt",
      filename: "Out.txt",
      contentType: "text/plain",
      size: TEXT.length,
      sha256: sha256(TEXT),
      source: "in.txt",
      task: "s0-task",
    });
    expect(await findFile(env, "out.txt")).toEqual(info);
    expect((await fetchText("/files/out.txt")).text).toBe(TEXT);
  });

  test("without a byte", async () => {
    expect(await saveFile(env, SPEC, pieces())).toMatchObject({ size: 0, source: null, task: null });
    for (const body of [new Uint8Array(), pieces(""), madeInJavaScript("")])
      expect(await saveFile(env, SPEC, body, { length: 0 })).toMatchObject({ size: 0, sha256: sha256("") });
  });

  test("in several parts, if it is long", async () => {
    const chunk = new Uint8Array(1024 * 1024).map((_, n) => n % 251);
    const long = async function* () {
      for (let n = 0; n < 7; n++) yield chunk;
    };
    const whole = Buffer.concat(Array.from({ length: 7 }, () => chunk));
    expect(await saveFile(env, SPEC, long())).toMatchObject({ size: whole.length, sha256: sha256(whole) });
  });

  test("in place of what was there, and only that is left", async () => {
    await putFile("out.txt", "before");
    await saveFile(env, SPEC, bytes());
    const left = await whatIsLeft();
    expect([left.files, left.objects.length, left.strays]).toEqual([["out.txt"], 1, []]);
  });

  test("and expires when it should", async () => {
    await saveFile(env, { ...SPEC, expiresInSeconds: 60 }, bytes());
    const { body } = await callForJson("/files");
    const [file] = body.files as { expiresAt: string; modifiedAt: string }[];
    expect(Date.parse(String(file?.expiresAt)) - Date.parse(String(file?.modifiedAt))).toBeCloseTo(
      60_000,
      -3,
    );
  });

  test("and shows where it comes from; an upload comes from nowhere", async () => {
    await putFile("in.txt", "x");
    await saveFile(env, { ...SPEC, source: "in.txt", task: "s0-task" }, bytes());
    const { body } = await callForJson("/files");
    expect(body.files).toMatchObject([
      { id: "in.txt", source: null, sourceTask: null },
      { id: "out.txt", source: "in.txt", sourceTask: "s0-task" },
    ]);
  });
});

describe("nothing is stored", () => {
  const failing = async function* () {
    yield bytes();
    throw new Error("the code failed");
  };
  const endless = async function* () {
    for (;;) {
      await scheduler.wait(1);
      yield bytes();
    }
  };

  test.each<[string, Partial<FileSpec>, () => FileBody, number | undefined, string]>([
    ["the body fails", {}, failing, undefined, "the code failed"],
    ["the body fails, with a length", {}, failing, 100, "the code failed"],
    ["the body is shorter than its length", {}, () => pieces("a"), 2, "broke off"],
    ["the body is longer than its length", {}, () => pieces("abc"), 2, "more than the 2 bytes"],
    ["the id is not one", { id: "a/b" }, () => bytes(), undefined, '"a/b" cannot be the id of a file'],
    [
      "the name is too long",
      { filename: "n".repeat(256) },
      () => bytes(),
      undefined,
      "longer than 255 bytes",
    ],
  ])("if %s", async (_name, spec, body, length, why) => {
    const options = length === undefined ? {} : { length };
    await expect(saveFile(env, { ...SPEC, ...spec }, body(), options)).rejects.toThrow(why);
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("if it is longer than MAX_FILE_BYTES", async () => {
    const small = { ...env, MAX_FILE_BYTES: 5 };
    for (const body of [bytes(), streamOf(), pieces("hello", "x")])
      await expect(saveFile(small, SPEC, body)).rejects.toThrow("5 bytes");
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test.each<[string, () => FileBody]>([
    ["bytes come", endless],
    ["none comes", () => new ReadableStream<Uint8Array>({ pull: async () => scheduler.wait(60_000) })],
  ])("if the signal aborts while %s, which ends it at once", async (_name, body) => {
    const interrupt = new AbortController();
    const saved = saveFile(env, SPEC, body(), { signal: interrupt.signal });
    setTimeout(() => interrupt.abort(new Error("handed over")), 20);
    await expect(saved).rejects.toThrow("handed over");
    expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("if R2 does not take it; what was there stays", async () => {
    await putFile("out.txt", "before");
    const put = async () => Promise.reject(new Error("R2 is down"));
    await expect(saveFile({ ...env, FILES: changed(env.FILES, { put }) }, SPEC, bytes())).rejects.toThrow(
      "R2 is down",
    );
    expect((await fetchText("/files/out.txt")).text).toBe("before");
  });
});
