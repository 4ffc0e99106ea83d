import { describe, expect, test } from "vitest";
import { callForJson } from "../../support/call.ts";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  CHUNK,
  changeRecord,
  countAppended,
  createTus,
  digest,
  fileOf,
  headTus,
  idOf,
  MIB,
  NO_UPLOAD,
  patchTus,
  pathOf,
  postTus,
  send,
  stalledBody,
  TUS,
  TUS_TYPE,
  type UploadResponse,
  uploadTus,
  withoutLength,
} from "../../support/uploads.ts";

keepQuiet();

const MAX_5 = { variables: { MAX_FILE_BYTES: 5 } };

/** Every response except that of OPTIONS names the version. */
function expectTus(response: UploadResponse, status: number): void {
  expect([response.status, response.headers.get("Tus-Resumable")], response.text).toEqual([status, "1.0.0"]);
}

async function expectOffset(path: string, offset: number): Promise<void> {
  expect((await headTus(path)).headers.get("Upload-Offset")).toBe(String(offset));
}

describe("the version", () => {
  test.each(["/uploads", NO_UPLOAD])(
    "OPTIONS %s describes this server, whatever version is requested",
    async (path) => {
      const response = await send("OPTIONS", path, { headers: { "Tus-Resumable": "0.2.2" } });
      expect(response.status).toBe(200);
      expect(
        response.has(
          "Tus-Resumable",
          "Tus-Version",
          "Tus-Extension",
          "Tus-Max-Size",
          "Tus-Checksum-Algorithm",
        ),
      ).toEqual({
        "Tus-Resumable": "1.0.0",
        "Tus-Version": "1.0.0",
        "Tus-Extension":
          "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation," +
          "concatenation-unfinished",
        "Tus-Max-Size": "50000000000",
        "Tus-Checksum-Algorithm": "sha1,sha256,sha512,md5",
      });
    },
  );

  test.each([
    ["1.0.0", 201],
    ["0.2.2", 412],
    ["1.0.1", 412],
    ["", 412],
  ])("of a creation: %j gets %i", async (version, status) => {
    const response = await postTus({ "Tus-Resumable": version, "Upload-Length": 1 });
    expectTus(response, status);
    expect(response.headers.get("Tus-Version")).toBe(status === 412 ? "1.0.0" : null);
    expect(response.headers.has("Location")).toBe(status === 201);
  });

  test("a request in another version is rejected and has no effect", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const other = { "Tus-Resumable": "2.0.0" };
    expectTus(await patchTus(path, 0, "hello", { headers: other }), 412);
    for (const method of ["HEAD", "DELETE"]) expectTus(await send(method, path, { headers: other }), 412);
    await expectOffset(path, 0);
  });

  test("a tus request without a version is rejected", async () => {
    const { status, headers } = await send("POST", "/uploads", { headers: { "Upload-Length": 5 } });
    expect([status, headers.get("Tus-Version")]).toEqual([412, "1.0.0"]);
  });
});

describe("creation", () => {
  test("responds 201 with the URL of the upload, which is at byte 0", async () => {
    const response = await postTus({ "Upload-Length": 5, "Upload-Metadata": "filename YS50eHQ=,empty" });
    expectTus(response, 201);
    expect(response.has("Upload-Offset", "Content-Location")).toEqual({
      "Upload-Offset": "0",
      "Content-Location": null,
    });
    const head = await headTus(pathOf(response));
    expectTus(head, 200);
    expect(
      head.has("Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Defer-Length", "Cache-Control"),
    ).toEqual({
      "Upload-Offset": "0",
      "Upload-Length": "5",
      "Upload-Metadata": "filename YS50eHQ=,empty",
      "Upload-Defer-Length": null,
      "Cache-Control": "no-store",
    });
  });

  test.each<[string, Record<string, string | number>, number]>([
    ["a length", { "Upload-Length": 5 }, 201],
    ["a length that comes later", { "Upload-Defer-Length": 1 }, 201],
    ["neither", {}, 400],
    ["both", { "Upload-Length": 5, "Upload-Defer-Length": 1 }, 400],
    ["a deferred length that is not 1", { "Upload-Defer-Length": 2 }, 400],
    ["a deferred length that is 0", { "Upload-Defer-Length": 0, "Upload-Length": 5 }, 400],
    ["a negative length", { "Upload-Length": -1 }, 400],
    ["a length that is not a number", { "Upload-Length": "five" }, 400],
    ["a length in hexadecimal", { "Upload-Length": "0x5" }, 400],
    ["a fractional length", { "Upload-Length": "5.0" }, 400],
    ["metadata with an empty value", { "Upload-Length": 5, "Upload-Metadata": "a,b " }, 201],
    ["metadata not in base64", { "Upload-Length": 5, "Upload-Metadata": "a b!" }, 400],
    ["metadata with a key twice", { "Upload-Length": 5, "Upload-Metadata": "a YQ==,a YQ==" }, 400],
    ["metadata with no key", { "Upload-Length": 5, "Upload-Metadata": "a YQ==,, b YQ==" }, 400],
    ["metadata with two values", { "Upload-Length": 5, "Upload-Metadata": "a YQ== YQ==" }, 400],
  ])("with %s", async (_name, headers, status) => {
    expectTus(await postTus(headers), status);
  });

  test("of more than the maximum is rejected, exactly the maximum is not", async () => {
    const responses = [5, 6].map(async (length) =>
      send("POST", "/uploads", { ...MAX_5, headers: { ...TUS, "Upload-Length": length } }),
    );
    expect((await Promise.all(responses)).map(({ status }) => status)).toEqual([201, 413]);
  });

  test("of no bytes is complete at once", async () => {
    const response = await postTus({ "Upload-Length": 0 });
    expectTus(response, 201);
    expect(await fileOf(pathOf(response))).toMatchObject({ status: 200, size: 0 });
    await expectOffset(pathOf(response), 0);
  });
});

describe("creation with upload", () => {
  test.each([
    ["part", "hel", "3", 404],
    ["the whole", "hello", "5", 200],
  ])("can contain %s of the bytes", async (_name, body, offset, fileStatus) => {
    const response = await postTus({ "Upload-Length": 5, ...TUS_TYPE }, body);
    expectTus(response, 201);
    expect(response.headers.get("Upload-Offset")).toBe(offset);
    expect((await fileOf(pathOf(response))).status).toBe(fileStatus);
  });

  test.each<[string, string, Record<string, string | number>, number]>([
    ["that is valid", "hello", { ...TUS_TYPE, "Upload-Checksum": `sha1 ${digest("sha1", "hello")}` }, 201],
    ["of another media type", "hello", { "Content-Type": "text/plain" }, 415],
    ["longer than announced", "hello!", { ...TUS_TYPE, "Content-Length": 6 }, 413],
    [
      "that does not match its checksum",
      "hellO",
      { ...TUS_TYPE, "Upload-Checksum": `sha1 ${digest("sha1", "hello")}` },
      460,
    ],
    ["with an unknown checksum algorithm", "hello", { ...TUS_TYPE, "Upload-Checksum": "crc32 AAAA" }, 400],
  ])("with a body %s", async (_name, body, headers, status) => {
    const response = await postTus({ "Upload-Length": 5, ...headers }, body);
    expectTus(response, status);
    expect(response.headers.has("Location")).toBe(status === 201);
  });
});

describe("PATCH", () => {
  test("appends at the offset and returns the new one; the last byte completes the file", async () => {
    const path = await createTus({ "Upload-Length": 11 });
    const first = await patchTus(path, 0, "hello ");
    expectTus(first, 204);
    expect(first.has("Upload-Offset", "Content-Location")).toEqual({
      "Upload-Offset": "6",
      "Content-Location": null,
    });
    expect((await fileOf(path)).status).toBe(404);
    const last = await patchTus(path, 6, "world");
    expectTus(last, 204);
    expect(last.has("Upload-Offset", "Content-Location", "Upload-Expires")).toEqual({
      "Upload-Offset": "11",
      "Content-Location": `http://localhost/files/${idOf(path)}`,
      "Upload-Expires": null,
    });
    expect(await fileOf(path)).toMatchObject({ status: 200, sha256: sha256("hello world") });
    await expectOffset(path, 11);
  });

  test.each<[string, Record<string, string | number>, string, number]>([
    ["that is valid", {}, "lo", 204],
    ["at an earlier offset", { "Upload-Offset": 2 }, "lo", 409],
    ["at a later offset", { "Upload-Offset": 4 }, "o", 409],
    ["with no offset", { "Upload-Offset": "" }, "lo", 400],
    ["at a negative offset", { "Upload-Offset": -1 }, "lo", 400],
    ["at an offset that is not a number", { "Upload-Offset": "3x" }, "lo", 400],
    ["of another media type", { "Content-Type": "application/octet-stream" }, "lo", 415],
    ["of the draft's media type", { "Content-Type": "application/partial-upload" }, "lo", 415],
    ["beyond the end", { "Content-Length": 3 }, "lo!", 413],
    ["with the same length again", { "Upload-Length": 5 }, "lo", 204],
    ["with another length", { "Upload-Length": 6 }, "lo", 400],
  ])("%s", async (_name, headers, body, status) => {
    const path = await createTus({ "Upload-Length": 5 });
    await patchTus(path, 0, "hel");
    expectTus(await patchTus(path, 3, body, { headers }), status);
    await expectOffset(path, status === 204 ? 5 : 3);
  });

  test("at a wrong offset returns the right one", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    await patchTus(path, 0, "hel");
    const response = await patchTus(path, 0, "hello");
    expect([response.status, response.headers.get("Upload-Offset")]).toEqual([409, "3"]);
  });

  test("of another media type names the one to send", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const response = await patchTus(path, 0, "hello", { headers: { "Content-Type": "text/plain" } });
    expect(response.headers.get("Accept-Patch")).toBe(CHUNK["Content-Type"]);
  });

  test("without a Content-Length that exceeds the length is rejected and completes nothing", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    const response = await patchTus(path, 0, withoutLength("hello and more"));
    expectTus(response, 413);
    expect(response.headers.get("Upload-Offset")).toBe("0");
  });

  test("that exceeds a length at the boundary of a part completes nothing either", async () => {
    const length = 5 * MIB;
    const path = await createTus({ "Upload-Length": length });
    expectTus(await patchTus(path, 0, withoutLength(new Uint8Array(length + 10))), 413);
    expect((await headTus(path)).headers.get("Upload-Offset")).toBe("0");
    expect((await callForJson(`/files/${idOf(path)}`)).status).toBe(404);
    expectTus(await patchTus(path, 0, new Uint8Array(length)), 204);
  });

  test("of no bytes at the end of a complete upload gets the same response as the one before", async () => {
    const path = await uploadTus("hello");
    const response = await patchTus(path, 5, null);
    expectTus(response, 204);
    expect(response.headers.get("Upload-Offset")).toBe("5");
    expectTus(await patchTus(path, 5, "!", { headers: { "Content-Length": 1 } }), 413);
  });

  test("at a wrong offset of a complete upload is a conflict", async () => {
    const path = await uploadTus("hello");
    expectTus(await patchTus(path, 3, "lo"), 409);
  });

  test("that breaks off keeps what has arrived", async () => {
    const { untilAppended } = countAppended();
    const path = await createTus({ "Upload-Length": 5 });
    const { body, breakOff } = stalledBody("hel");
    const response = patchTus(path, 0, body);
    await untilAppended(3);
    await breakOff();
    expectTus(await response, 400);
    await expectOffset(path, 3);
  });

  test.each(["HEAD", "PATCH", "DELETE"])(
    "%s of an upload that does not exist gets a 404 without an offset",
    async (method) => {
      for (const path of [NO_UPLOAD, "/uploads/not-a-uuid"]) {
        const headers = method === "PATCH" ? { ...CHUNK, "Upload-Offset": 0 } : TUS;
        const response = await send(method, path, { headers });
        expectTus(response, 404);
        expect(response.headers.has("Upload-Offset")).toBe(false);
      }
    },
  );
});

describe("a deferred length", () => {
  test("is reported until the length is known, which any PATCH can announce, and which then stays", async () => {
    const path = await createTus({ "Upload-Defer-Length": 1 });
    const names = ["Upload-Length", "Upload-Defer-Length"];
    expect((await headTus(path)).has(...names)).toEqual({
      "Upload-Length": null,
      "Upload-Defer-Length": "1",
    });
    expectTus(await patchTus(path, 0, "hel"), 204);
    expectTus(await patchTus(path, 3, null, { headers: { "Upload-Length": 5 } }), 204);
    expect((await headTus(path)).has(...names)).toEqual({
      "Upload-Length": "5",
      "Upload-Defer-Length": null,
    });
    expectTus(await patchTus(path, 3, null, { headers: { "Upload-Length": 6 } }), 400);
    expectTus(await patchTus(path, 3, "lo"), 204);
    expect((await fileOf(path)).sha256).toBe(sha256("hello"));
  });

  test.each([
    ["what has arrived: complete", 3, 204],
    ["less than has arrived", 2, 400],
    ["more than the maximum", 50_000_000_001, 413],
  ])("can be %s", async (_name, length, status) => {
    const path = await createTus({ "Upload-Defer-Length": 1 });
    await patchTus(path, 0, "hel");
    expectTus(await patchTus(path, 3, null, { headers: { "Upload-Length": length } }), status);
    expect((await fileOf(path)).status).toBe(status === 204 ? 200 : 404);
  });
});

describe("checksum", () => {
  test.each(["sha1", "sha256", "sha512", "md5"])(
    "%s: bytes that match are kept, bytes that do not leave nothing",
    async (name) => {
      const path = await createTus({ "Upload-Length": 5 });
      const headers = { "Upload-Checksum": `${name} ${digest(name, "hello")}` };
      const wrong = await patchTus(path, 0, "hellO", { headers });
      expectTus(wrong, 460);
      expect(wrong.headers.get("Upload-Offset")).toBe("0");
      await expectOffset(path, 0);
      expectTus(await patchTus(path, 0, "hello", { headers }), 204);
      expect((await fileOf(path)).sha256).toBe(sha256("hello"));
    },
  );

  test.each([
    ["unknown", "crc32 AAAA"],
    ["in capitals", `SHA1 ${digest("sha1", "hello")}`],
    ["without a digest", "sha1"],
    ["not in base64", "sha1 !!!"],
    ["more than one", `sha1 ${digest("sha1", "hello")} x`],
    ["named as a property of every object", "constructor AAAA"],
  ])("%s is rejected and leaves no byte", async (_name, checksum) => {
    const path = await createTus({ "Upload-Length": 5 });
    expectTus(await patchTus(path, 0, "hello", { headers: { "Upload-Checksum": checksum } }), 400);
    await expectOffset(path, 0);
  });

  test("of a body that breaks off, nothing is kept, because it cannot be verified", async () => {
    const { untilAppended } = countAppended();
    const path = await createTus({ "Upload-Length": 5 });
    const { body, breakOff } = stalledBody("hel");
    const headers = { "Upload-Checksum": `sha1 ${digest("sha1", "hel")}` };
    const response = patchTus(path, 0, body, { headers });
    await untilAppended(3);
    await breakOff();
    expectTus(await response, 400);
    await expectOffset(path, 0);
  });
});

describe("expiration", () => {
  test("is in every response that leaves an upload unfinished", async () => {
    const created = await postTus({ "Upload-Length": 5 });
    const path = pathOf(created);
    const responses = [
      created,
      await patchTus(path, 0, "hel"),
      await patchTus(path, 0, "hel"),
      await headTus(path),
    ];
    expect(responses.map(({ status }) => status)).toEqual([201, 204, 409, 200]);
    for (const { headers } of responses) {
      const expires = headers.get("Upload-Expires") ?? "";
      expect(expires).toBe(new Date(expires).toUTCString());
      expect(Date.parse(expires) - Date.now()).toBeGreaterThan(23 * 3_600_000);
    }
  });

  test("is extended with each byte", async () => {
    const path = await createTus({ "Upload-Length": 5 });
    await changeRecord(path, { expiresAtMs: Date.now() + 60_000 });
    const expiresInMs = async (response: Promise<UploadResponse>) =>
      Date.parse((await response).headers.get("Upload-Expires") ?? "") - Date.now();
    expect(await expiresInMs(headTus(path))).toBeLessThan(60_001);
    expect(await expiresInMs(patchTus(path, 0, "hel"))).toBeGreaterThan(23 * 3_600_000);
  });
});

describe("termination", () => {
  test.each([
    ["unfinished", 6],
    ["finished", 5],
  ])("of an upload that is %s removes it and its file", async (_name, length) => {
    const path = await createTus({ "Upload-Length": length });
    await patchTus(path, 0, "hello");
    expect((await fileOf(path)).status).toBe(length === 5 ? 200 : 404);
    expectTus(await send("DELETE", path, { headers: TUS }), 204);
    expectTus(await headTus(path), 404);
    expectTus(await patchTus(path, 5, "!"), 404);
    expectTus(await send("DELETE", path, { headers: TUS }), 404);
    expect((await fileOf(path)).status).toBe(404);
  });

  test("leaves a file that has replaced it", async () => {
    const path = await uploadTus("hello");
    const put = await send("PUT", `/files/${idOf(path)}`, { body: "another" });
    expect(put.status).toBe(200);
    expectTus(await send("DELETE", path, { headers: TUS }), 204);
    expect((await fileOf(path)).sha256).toBe(sha256("another"));
  });
});
