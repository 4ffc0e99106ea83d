import { describe, expect, test } from "vitest";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  changeRecord,
  countAppended,
  digest,
  fileOf,
  idOf,
  pathOf,
  send,
  stalledBody,
  type UploadResponse,
  withoutLength,
} from "../../support/uploads.ts";

keepQuiet();

const VERSIONS = [3, 4, 5, 6, 7, 8, 9, 10];
const [UP_TO_6, FROM_7] = [VERSIONS.slice(0, 4), VERSIONS.slice(4)];
const PARTIAL = "application/partial-upload";
const PROBLEMS = "https://iana.org/assignments/http-problem-types";

const MAX_5 = { MAX_FILE_BYTES: 5 };

type Extra = Record<string, string | number>;

/** The header that says whether this is all, in the given version. */
const whole = (version: number, isWhole: boolean): Extra =>
  version === 3
    ? { "Upload-Incomplete": isWhole ? "?0" : "?1" }
    : { "Upload-Complete": isWhole ? "?1" : "?0" };

const create = async (version: number, isWhole: boolean, body: BodyInit | null, extra: Extra = {}) =>
  send("POST", "/uploads", {
    body,
    headers: { "Upload-Draft-Interop-Version": version, ...whole(version, isWhole), ...extra },
  });

const createEmpty = async (version: number, extra: Extra = {}) =>
  pathOf(await create(version, false, null, extra));

const append = async (
  version: number,
  path: string,
  offset: number,
  isWhole: boolean,
  body: BodyInit | null,
  extra: Extra = {},
) =>
  send("PATCH", path, {
    body,
    headers: {
      "Upload-Draft-Interop-Version": version,
      "Upload-Offset": offset,
      ...whole(version, isWhole),
      ...(version >= 6 ? { "Content-Type": PARTIAL } : {}),
      ...extra,
    },
  });

const head = async (version: number, path: string, extra: Extra = {}) =>
  send("HEAD", path, { headers: { "Upload-Draft-Interop-Version": version, ...extra } });

const remove = async (version: number, path: string, extra: Extra = {}) =>
  send("DELETE", path, { headers: { "Upload-Draft-Interop-Version": version, ...extra } });

/** What the response says about the upload: its offset, and whether it is complete, from whichever header. */
function progress({ headers }: UploadResponse) {
  const incomplete = headers.get("Upload-Incomplete");
  const flag = incomplete === null ? headers.get("Upload-Complete") : { "?1": "?0", "?0": "?1" }[incomplete];
  return [headers.get("Upload-Offset"), flag];
}

const length = (bytes: string): Extra => ({ "Content-Length": Buffer.byteLength(bytes) });

describe.each(VERSIONS)("version %i", (version) => {
  test("a creation with some of the bytes gets a 201 that says where to continue", async () => {
    const response = await create(version, false, "hel");
    expect([response.status, ...progress(response)]).toEqual([201, "3", "?0"]);
    expect(response.has("Upload-Draft-Interop-Version", "Tus-Resumable", "Content-Location")).toEqual({
      "Upload-Draft-Interop-Version": String(version),
      "Tus-Resumable": null,
      "Content-Location": null,
    });
    expect(response.headers.has(version === 3 ? "Upload-Complete" : "Upload-Incomplete")).toBe(false);
    expect((await fileOf(pathOf(response))).status).toBe(404);
  });

  test("a creation with all the bytes becomes the file", async () => {
    const response = await create(version, true, "hello", { "Content-Type": "text/plain" });
    expect([response.status, ...progress(response)]).toEqual([201, "5", "?1"]);
    const id = idOf(pathOf(response));
    const url = `http://localhost/files/${id}`;
    expect(response.headers.get("Content-Location")).toBe(url);
    expect(response.body).toEqual({
      filename: id,
      id,
      url,
      size: 5,
      contentType: "text/plain",
      sha256: sha256("hello"),
    });
    expect((await fileOf(pathOf(response))).sha256).toBe(sha256("hello"));
  });

  test("a complete creation without bytes becomes an empty file", async () => {
    const response = await create(version, true, null);
    expect([response.status, ...progress(response)]).toEqual([201, "0", "?1"]);
    expect(await fileOf(pathOf(response))).toMatchObject({ status: 200, size: 0 });
  });

  test("bytes are appended at the offset, and the last ones complete the upload", async () => {
    const path = await createEmpty(version);
    const first = await append(version, path, 0, false, "hel");
    expect([first.status, ...progress(first)]).toEqual([version <= 6 ? 201 : 204, "3", "?0"]);
    const last = await append(version, path, 3, true, "lo");
    expect([last.status, ...progress(last)]).toEqual([version <= 6 ? 201 : 200, "5", "?1"]);
    expect(last.body).toMatchObject({ size: 5, sha256: sha256("hello") });
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("HEAD returns the offset, also of a complete upload, and is not cacheable", async () => {
    const path = await createEmpty(version);
    await append(version, path, 0, false, "hel");
    const before = await head(version, path);
    expect([before.status, before.headers.get("Cache-Control"), ...progress(before)]).toEqual([
      204,
      "no-store",
      "3",
      "?0",
    ]);
    expect(before.headers.get("Upload-Length")).toBeNull();
    await append(version, path, 3, true, "lo");
    const after = await head(version, path);
    expect([after.status, ...progress(after)]).toEqual([204, "5", "?1"]);
    expect(after.has("Upload-Length", "Content-Location")).toEqual({
      "Upload-Length": "5",
      "Content-Location": `http://localhost/files/${idOf(path)}`,
    });
  });

  test("at a wrong offset nothing is appended, and the problem has both offsets", async () => {
    const path = await createEmpty(version);
    await append(version, path, 0, false, "hel");
    const response = await append(version, path, 2, false, "llo");
    expect([response.status, ...progress(response)]).toEqual([409, "3", "?0"]);
    expect(response.body).toMatchObject({
      type: `${PROBLEMS}#mismatching-upload-offset`,
      title: "offset from request does not match offset of resource",
      "expected-offset": 3,
      "provided-offset": 2,
    });
    expect(progress(await head(version, path))[0]).toBe("3");
  });

  test("nothing is appended to a complete upload", async () => {
    const path = pathOf(await create(version, true, "hello"));
    const response = await append(version, path, 5, true, "!", length("!"));
    const type = version <= 6 ? "completed-upload" : "inconsistent-upload-length";
    expect([response.status, response.body?.type]).toEqual([400, `${PROBLEMS}#${type}`]);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test("a body that breaks off is kept, and does not complete the upload even if it said so", async () => {
    const { untilAppended } = countAppended();
    const path = await createEmpty(version);
    const { body, breakOff } = stalledBody("hel");
    const response = append(version, path, 0, true, body);
    await untilAppended(3);
    await breakOff();
    expect([(await response).status, ...progress(await response)]).toEqual([400, "3", "?0"]);
    expect((await fileOf(path)).status).toBe(404);
    expect((await append(version, path, 3, true, "lo")).body?.sha256).toBe(sha256("hello"));
  });

  test("DELETE ends the upload; a file that it became stays", async () => {
    const [open, done] = [await createEmpty(version), pathOf(await create(version, true, "hello"))];
    for (const path of [open, done]) {
      expect((await remove(version, path)).status).toBe(204);
      expect((await head(version, path)).status).toBe(404);
      expect((await remove(version, path)).status).toBe(404);
      expect((await append(version, path, 0, true, "hello")).status).toBe(404);
    }
    expect((await fileOf(done)).sha256).toBe(sha256("hello"));
  });

  test.each<[string, Extra, number]>([
    ["that is valid", {}, 201],
    ["that does not say whether it is complete", { "Upload-Complete": "", "Upload-Incomplete": "" }, 400],
    [
      "that says so with a value that is not a boolean",
      { "Upload-Complete": "1", "Upload-Incomplete": "1" },
      400,
    ],
    ["with an offset", { "Upload-Offset": 0 }, 400],
    ["of a version that nobody speaks any longer", { "Upload-Draft-Interop-Version": 2 }, 400],
    ["of several versions", { "Upload-Draft-Interop-Version": "7, 8" }, 400],
    ["of a version that is not a number", { "Upload-Draft-Interop-Version": "?1" }, 400],
    ["with malformed metadata", { "Upload-Metadata": "a b c" }, 400],
    ["with a Content-Digest", { "Content-Digest": `sha-256=:${digest("sha256", "hel")}:` }, 201],
    ["with a wrong Content-Digest", { "Content-Digest": `sha-256=:${digest("sha256", "x")}:` }, 400],
    ["with a malformed Content-Digest", { "Content-Digest": "sha-256=x" }, 400],
  ])("a creation %s", async (_name, extra, status) => {
    const response = await create(version, false, "hel", extra);
    expect(response.status, response.text).toBe(status);
    expect(response.headers.has("Location")).toBe(status === 201);
  });

  test("more than the maximum is rejected, exactly the maximum is not", async () => {
    const headers = { "Upload-Draft-Interop-Version": version, ...whole(version, true) };
    const statusOf = async (body: string) =>
      (await send("POST", "/uploads", { variables: MAX_5, body, headers: { ...headers, ...length(body) } }))
        .status;
    expect([await statusOf("hello"), await statusOf("hello!")]).toEqual([201, 413]);
  });

  test("a chunk with a wrong Content-Digest leaves no byte; one with the right digest is kept", async () => {
    const path = await createEmpty(version);
    for (const name of ["sha-256", "sha-512"]) {
      const wrong = { "Content-Digest": `${name}=:${digest(name.replace("-", ""), "HEL")}:` };
      const { status, body } = await append(version, path, 0, false, "hel", wrong);
      expect([status, body?.type]).toEqual([400, "urn:sluice:problem:digest-mismatch"]);
      expect(progress(await head(version, path))).toEqual(["0", "?0"]);
    }
    const right = { "Content-Digest": `md5=:${digest("md5", "hel")}:, sha-512=:${digest("sha512", "hel")}:` };
    expect(progress(await append(version, path, 0, false, "hel", right))[0]).toBe("3");
  });

  test("a wrong Repr-Digest of the whole ends the upload, and there is no file", async () => {
    const path = await createEmpty(version, { "Repr-Digest": `sha-256=:${digest("sha256", "hello")}:` });
    await append(version, path, 0, false, "hel");
    const response = await append(version, path, 3, true, "lO");
    expect([response.status, response.body?.type]).toEqual([400, "urn:sluice:problem:digest-mismatch"]);
    // From version 7 on, that says that the upload has ended.
    expect(response.headers.get("Upload-Complete")).toBe(version >= 7 ? "?1" : null);
    expect([(await head(version, path)).status, (await fileOf(path)).status]).toEqual([404, 404]);
  });

  test("a right Repr-Digest is accepted; one that is not sha-256 cannot be used", async () => {
    const path = await createEmpty(version, { "Repr-Digest": `sha-256=:${digest("sha256", "hello")}:` });
    await append(version, path, 0, false, "hel");
    expect((await append(version, path, 3, true, "lo")).body?.sha256).toBe(sha256("hello"));
    const other = await create(version, false, null, {
      "Repr-Digest": `sha-512=:${digest("sha512", "hello")}:`,
    });
    expect(other.status).toBe(400);
  });

  test("a known length is binding", async () => {
    const path = await createEmpty(version, { "Upload-Length": 5 });
    expect((await head(version, path)).headers.get("Upload-Length")).toBe("5");
    const other = await append(version, path, 0, true, "hell", length("hell"));
    expect([other.status, other.body?.type]).toEqual([400, `${PROBLEMS}#inconsistent-upload-length`]);
    expect(progress(await head(version, path))).toEqual(["0", "?0"]);
    expect((await append(version, path, 0, true, "hello")).body?.sha256).toBe(sha256("hello"));
  });

  test("a creation with contradictory lengths is rejected", async () => {
    const response = await create(version, true, "hello", { ...length("hello"), "Upload-Length": 6 });
    expect([response.status, response.body?.type]).toEqual([400, `${PROBLEMS}#inconsistent-upload-length`]);
  });

  test("a chunk that exceeds the length is rejected", async () => {
    for (const [body, headers] of [
      ["hello!", length("hello!")],
      [withoutLength("hello!"), {}],
    ] as const) {
      const path = await createEmpty(version, { "Upload-Length": 5 });
      const response = await append(version, path, 0, false, body, headers);
      expect([response.status, response.body?.type]).toEqual([400, `${PROBLEMS}#inconsistent-upload-length`]);
      // From version 7 on, such an upload is invalid.
      expect((await head(version, path)).status).toBe(version >= 7 ? 404 : 204);
    }
  });
});

describe("up to version 6", () => {
  test.each(UP_TO_6)("%i: the byte at Upload-Length completes the upload", async (version) => {
    const path = await createEmpty(version, { "Upload-Length": 5 });
    const response = await append(version, path, 0, false, "hello");
    expect([response.status, ...progress(response)]).toEqual([201, "5", "?1"]);
    // The explicit completion, which comes later.
    const word = await append(version, path, 5, true, null);
    expect([word.status, ...progress(word)]).toEqual([201, "5", "?1"]);
  });

  test.each(UP_TO_6)("%i: HEAD and DELETE with upload headers are rejected", async (version) => {
    const path = await createEmpty(version);
    for (const stray of [
      { "Upload-Offset": 0 },
      { "Upload-Complete": "?0" },
      { "Upload-Incomplete": "?1" },
    ]) {
      expect((await head(version, path, stray)).status).toBe(400);
      expect((await remove(version, path, stray)).status).toBe(400);
    }
    expect((await head(version, path)).status).toBe(204);
  });

  test("6: so is HEAD with Upload-Length", async () => {
    expect((await head(6, await createEmpty(6), { "Upload-Length": 5 })).status).toBe(400);
  });

  test.each([
    [3, "?1"],
    [4, "?0"],
    [5, "?0"],
    [6, "?0"],
  ])("%i: without the header, the default is %s", async (version, flag) => {
    const path = await createEmpty(version);
    const silence = { "Upload-Complete": "", "Upload-Incomplete": "" };
    expect(progress(await append(version, path, 0, true, "hello", silence))).toEqual(["5", flag]);
  });
});

describe("from version 7 on", () => {
  test.each(FROM_7)("%i: only a request that says so completes an upload", async (version) => {
    const path = await createEmpty(version, { "Upload-Length": 5 });
    const all = await append(version, path, 0, false, "hello");
    expect([all.status, ...progress(all)]).toEqual([204, "5", "?0"]);
    expect((await fileOf(path)).status).toBe(404);
    const word = await append(version, path, 5, true, null);
    expect([word.status, ...progress(word)]).toEqual([200, "5", "?1"]);
  });

  test.each(FROM_7)("%i: a chunk must say whether it is the last", async (version) => {
    const response = await append(version, await createEmpty(version), 0, true, "hello", {
      "Upload-Complete": "",
    });
    expect(response.status).toBe(400);
  });

  test.each(FROM_7)("%i: upload headers in HEAD and DELETE are ignored", async (version) => {
    const path = await createEmpty(version);
    const stray = { "Upload-Offset": 3, "Upload-Complete": "?0" };
    expect((await head(version, path, stray)).status).toBe(204);
    expect((await remove(version, path, stray)).status).toBe(204);
  });

  test.each(FROM_7)(
    "%i: an empty append to a complete upload is told that it is complete",
    async (version) => {
      const path = pathOf(await create(version, true, "hello"));
      const response = await append(version, path, 5, true, null);
      expect(response.body?.type).toBe(`${PROBLEMS}#completed-upload`);
      expect(progress(response)).toEqual(["5", "?1"]);
    },
  );

  test("a request that names no version speaks the latest", async () => {
    const response = await send("POST", "/uploads", { headers: { "Upload-Complete": "?0" } });
    expect([response.status, response.headers.get("Upload-Draft-Interop-Version")]).toEqual([201, "10"]);
  });

  test.each([99, 10_000, 1_125_899_906_842_624])(
    "%i, newer than the latest, is read as that, and the response says so",
    async (version) => {
      const response = await create(version, false, "hel");
      expect([response.status, ...progress(response)]).toEqual([201, "3", "?0"]);
      expect(response.headers.get("Upload-Draft-Interop-Version")).toBe("10");
    },
  );

  test("a request with Upload-Incomplete can only be of version 3", async () => {
    const response = await send("POST", "/uploads", { headers: { "Upload-Incomplete": "?1" } });
    expect([response.status, response.headers.get("Upload-Draft-Interop-Version")]).toEqual([201, "3"]);
  });
});

test.each([
  [5, "", 201],
  [5, "text/plain", 201],
  [6, PARTIAL, 201],
  [6, "Application/Partial-Upload", 201],
  [6, "application/octet-stream", 415],
  [8, PARTIAL, 204],
  [8, "application/offset+octet-stream", 415],
])("version %i gives a chunk of the type %j a %i", async (version, type, status) => {
  const response = await append(version, await createEmpty(version), 0, false, "hel", {
    "Content-Type": type,
  });
  expect([response.status, response.headers.get("Accept-Patch")]).toEqual([
    status,
    status === 415 ? PARTIAL : null,
  ]);
});

test.each([
  [5, null],
  [6, /^max-size=50000000000, max-append-size=100000000, expires=(\d+)$/],
  [7, /^max-size=50000000000, max-append-size=100000000, max-age=(\d+)$/],
  [8, /^max-size=50000000000, max-append-size=100000000, max-age=(\d+)$/],
])("version %i states its limits: %s", async (version, limit) => {
  const path = await createEmpty(version);
  await changeRecord(path, { expiresAtMs: Date.now() + 100_000 });
  const text = (await head(version, path)).headers.get("Upload-Limit");
  if (limit === null) return expect(text).toBeNull();
  const seconds = Number(limit.exec(text ?? "")?.[1]);
  expect(seconds).toBeGreaterThan(90);
  expect(seconds).toBeLessThan(101);
});

test("a request that exceeds a limit is told the limit", async () => {
  const headers = { "Upload-Draft-Interop-Version": 8, "Upload-Complete": "?0", "Upload-Length": 6 };
  const response = await send("POST", "/uploads", { variables: MAX_5, headers });
  expect([response.status, response.headers.get("Upload-Limit")]).toEqual([
    413,
    "max-size=5, max-append-size=100000000",
  ]);
});

test.each(["-1", "5.5", "five", '"5"', "?1"])("Upload-Length: %s counts as missing", async (text) => {
  const response = await create(8, false, null, { "Upload-Length": text });
  expect([response.status, response.headers.get("Upload-Length")]).toEqual([201, null]);
});

test.each(["-1", "0.5", "zero", '"0"', ""])("Upload-Offset: %s counts as missing", async (text) => {
  const response = await append(8, await createEmpty(8), 0, false, "hel", { "Upload-Offset": text });
  expect(response.status).toBe(400);
});
