/** Files with third-party clients over real HTTP: tus-js-client, curl, and the requests of a browser. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { PassThrough } from "node:stream";
import { Upload, type UploadOptions } from "tus-js-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { curl, hasCurl } from "../support/curl.ts";
import { type DevServer, startDev, temporaryFolder } from "../support/dev-server.ts";

declare module "tus-js-client" {
  interface UploadOptions {
    /** In its documentation, but not in its types. */
    protocol?: string;
  }
}

const SITE = "https://app.example.com";
const MIB = 1024 * 1024;
/** More than two parts of R2, and not a multiple of anything. */
const bytes = randomBytes(12 * MIB + 1);
const few = bytes.subarray(0, 300_001);

const storage = temporaryFolder();
const desk = temporaryFolder();
const reportPath = join(desk.path, "report.bin");
const stopped: DevServer = { url: "", output: () => "", kill: async () => {} };
let server = stopped;

const start = async () => startDev(storage.path, ["--var", `CORS_ORIGINS:["${SITE}"]`]);

beforeAll(async () => {
  writeFileSync(reportPath, bytes);
  server = await start();
});
afterAll(async () => {
  await server.kill();
  storage.remove();
  desk.remove();
});

const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");

/** The response to `GET` of the file, with the digest of the whole. */
async function read(id: string) {
  const response = await fetch(`${server.url}/files/${id}`);
  const content = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, digest: sha256(content) };
}

async function expectFile(id: string, content: Uint8Array): Promise<void> {
  const { status, digest } = await read(id);
  expect([status, digest]).toEqual([200, sha256(content)]);
}

interface TusRun {
  upload: Upload;
  /** The highest offset that the server has acknowledged. */
  acknowledged: () => number;
  /** Resolves at success, rejects at an error. */
  ended: Promise<void>;
}

function startUpload(source: ConstructorParameters<typeof Upload>[0], options: UploadOptions = {}): TusRun {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  let acknowledged = 0;
  const upload = new Upload(source, {
    endpoint: `${server.url}/uploads`,
    retryDelays: null,
    metadata: { filename: "röntgen 1.txt", filetype: "text/plain" },
    ...options,
    onChunkComplete: (size, accepted, total) => {
      acknowledged = accepted;
      options.onChunkComplete?.(size, accepted, total);
    },
    onError: reject,
    onSuccess: () => resolve(),
  });
  ended.catch(() => {});
  upload.start();
  return { upload, acknowledged: () => acknowledged, ended };
}

async function send(...args: Parameters<typeof startUpload>): Promise<string> {
  const { upload, ended } = startUpload(...args);
  await ended;
  return idOf(upload);
}

const idOf = ({ url }: Upload) => basename(new URL(String(url)).pathname);

/** Starts an upload, and calls `interrupt` when the server has some of it and more is on its way. */
async function interruptUpload(interrupt: (run: TusRun) => Promise<void>, options: UploadOptions) {
  const hasSome = Promise.withResolvers<void>();
  const run = startUpload(bytes, {
    chunkSize: MIB,
    ...options,
    onChunkComplete: (_, accepted) => {
      if (accepted >= 3 * MIB) hasSome.resolve();
    },
  });
  await Promise.race([hasSome.promise, run.ended]);
  await interrupt(run);
  return { uploadUrl: String(run.upload.url), acknowledged: run.acknowledged() };
}

/** The offset of the upload, from the server. */
async function offsetOf(uploadUrl: string): Promise<number> {
  const response = await fetch(uploadUrl, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } });
  expect(response.status).toBe(200);
  return Number(response.headers.get("Upload-Offset"));
}

const PROTOCOLS = ["tus-v1", "ietf-draft-03", "ietf-draft-05"];

describe("tus-js-client", () => {
  test("the file has the name and type from the metadata", async () => {
    const { headers } = await read(await send(few));
    expect(headers.get("Content-Type")).toBe("text/plain; charset=utf-8");
    expect(headers.get("Content-Disposition")).toBe(
      `attachment; filename="r?ntgen 1.txt"; filename*=UTF-8''r%C3%B6ntgen%201.txt`,
    );
  });

  describe.each(PROTOCOLS)("speaking %s", (protocol) => {
    test.each<[string, Uint8Array, UploadOptions]>([
      ["in one request", bytes, {}],
      ["in chunks of an odd size", bytes, { chunkSize: 1_000_003 }],
      ["in many small chunks", few, { chunkSize: 10_000 }],
      ["with bytes in the creation", bytes, { uploadDataDuringCreation: true, chunkSize: 6_000_000 }],
      ["whole in the creation", few, { uploadDataDuringCreation: true }],
      ["by POST in place of PATCH", few, { overridePatchMethod: true, chunkSize: 100_000 }],
      ["of no bytes", few.subarray(0, 0), {}],
    ])("%s", async (_, content, options) => {
      await expectFile(await send(Buffer.from(content), { protocol, ...options }), content);
    });
  });

  test.each([
    ["a stream of any kind", () => createReadStream(reportPath).pipe(new PassThrough())],
    ["a buffer", () => bytes],
  ])("of a length that is announced at the end, from %s", async (_, open) => {
    const options = { uploadLengthDeferred: true, chunkSize: 5_000_000 };
    await expectFile(await send(open(), options), bytes);
  });

  test("from a file that is read while it is sent", async () => {
    await expectFile(await send(createReadStream(reportPath), { chunkSize: 5_000_000 }), bytes);
  });

  test.each([
    [{}, bytes],
    [{ chunkSize: 5_000_000 }, bytes],
    [{ parallelUploads: 3 }, bytes],
    [{ uploadDataDuringCreation: true }, few],
    [{ protocol: "ietf-draft-05" }, bytes],
  ])("to an endpoint with a slash at the end, with %o", async (options, content) => {
    const id = await send(Buffer.from(content), { endpoint: `${server.url}/uploads/`, ...options });
    await expectFile(id, content);
  });

  test("GET of the URL of a finished upload downloads the file", async () => {
    const { upload, ended } = startUpload(few);
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
      await startUpload(Buffer.from(part), { uploadUrl: urls[i] ?? null }).ended;
    await expect
      .poll(async () => (await read(basename(final))).digest, { timeout: 15_000 })
      .toBe(sha256(bytes));
  });

  test.each([2, 3, 7])("in %i parallel uploads", async (parallelUploads) => {
    const id = await send(bytes, { parallelUploads });
    await expectFile(id, bytes);
    expect((await read(id)).headers.get("Content-Disposition")).toContain("r%C3%B6ntgen%201.txt");
  });

  test.each(PROTOCOLS)("paused, and resumed at its offset, speaking %s", async (protocol) => {
    const { uploadUrl, acknowledged } = await interruptUpload(({ upload }) => upload.abort(), { protocol });
    const resumedAt: number[] = [];
    const onProgress = (sent: number) => resumedAt.push(sent);
    const run = startUpload(bytes, { protocol, uploadUrl, onProgress });
    await run.ended;
    expect(resumedAt[0]).toBeGreaterThanOrEqual(acknowledged);
    expect(acknowledged).toBeGreaterThanOrEqual(3 * MIB);
    await expectFile(idOf(run.upload), bytes);
  });

  test("a terminated upload is gone, complete or not", async () => {
    const { uploadUrl } = await interruptUpload(({ upload }) => upload.abort(true), {});
    expect((await read(basename(uploadUrl))).status).toBe(404);
    const done = startUpload(few);
    await done.ended;
    await expectFile(idOf(done.upload), few);
    await Upload.terminate(String(done.upload.url));
    expect((await read(idOf(done.upload))).status).toBe(404);
    const headers = { "Tus-Resumable": "1.0.0" };
    for (const url of [uploadUrl, String(done.upload.url)]) {
      expect((await fetch(url, { method: "HEAD", headers })).status).toBe(404);
    }
  });

  test("after a kill -9, resumed on a new server with the same storage: no acknowledged byte is sent twice", async () => {
    const before = await interruptUpload(async ({ ended }) => {
      await server.kill();
      await expect(ended).rejects.toThrow();
    }, {});
    expect(before.acknowledged).toBeGreaterThanOrEqual(3 * MIB);
    server = stopped;
    server = await start();
    const uploadUrl = server.url + new URL(before.uploadUrl).pathname;
    expect(await offsetOf(uploadUrl)).toBeGreaterThanOrEqual(before.acknowledged);
    const run = startUpload(bytes, { uploadUrl });
    await run.ended;
    await expectFile(idOf(run.upload), bytes);
  });
});

describe.skipIf(!hasCurl)("curl", () => {
  const files = () => `${server.url}/files`;
  const status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
  const dayFromNow = (days: number) => new Date(Date.now() + days * 86_400_000).toUTCString();
  let id = "";

  beforeAll(async () => {
    id = basename(reportPath);
    await curl(["--fail", "-T", reportPath, `${files()}/`]);
  });

  test("-T: the file has its name on disk", async () => {
    await expectFile("report.bin", bytes);
  });

  test("-T -: the output of a pipe, of unknown length", async () => {
    const response = await curl(["--fail", "-T", "-", `${files()}/piped.bin`], bytes);
    expect(JSON.parse(response.toString())).toMatchObject({ id: "piped.bin", size: bytes.length });
    await expectFile("piped.bin", bytes);
  });

  test("-F, one file and several, with a name that needs quoting", async () => {
    const one = await curl([
      "--fail",
      "-F",
      `file=@${reportPath};filename="a \\"b\\".bin"`,
      `${server.url}/upload-file`,
    ]);
    const stored = JSON.parse(one.toString()) as Record<string, string>;
    expect(stored).toMatchObject({ filename: 'a "b".bin', sha256: sha256(bytes) });
    await expectFile(String(stored.id), bytes);

    writeFileSync(join(desk.path, "few.bin"), few);
    const several = await curl([
      "--fail",
      "-F",
      "note=two files",
      "-F",
      `a=@${reportPath}`,
      "-F",
      `b=@${join(desk.path, "few.bin")}`,
      files(),
    ]);
    expect(JSON.parse(several.toString())).toMatchObject({
      files: [
        { field: "a", filename: "report.bin", sha256: sha256(bytes) },
        { field: "b", filename: "few.bin", sha256: sha256(few) },
      ],
      fields: [{ name: "note", value: "two files" }],
    });
  });

  test.each(["base64", "quoted-printable", "binary", "8bit"])(
    "-F, in %s: stored as the file is",
    async (encoder) => {
      writeFileSync(join(desk.path, "few.bin"), few);
      const form = `file=@${join(desk.path, "few.bin")};encoder=${encoder}`;
      const stored = await curl(["--fail", "-F", form, `${server.url}/upload-file`]);
      expect(JSON.parse(stored.toString())).toMatchObject({ size: few.length, sha256: sha256(few) });
    },
  );

  test("-T with -F's form, or with a piece: refused", async () => {
    const url = `${files()}/refused.bin`;
    const form = await curl([...status, "-X", "PUT", "-F", `file=@${reportPath}`, url]);
    const piece = await curl([...status, "-T", reportPath, "-H", "Upload-Complete: ?0", url]);
    expect([form.toString(), piece.toString()]).toEqual(["415", "400"]);
    expect((await read("refused.bin")).status).toBe(404);
  });

  test.each([
    ["0-0", bytes.subarray(0, 1)],
    ["5242879-5242880", bytes.subarray(5242879, 5242881)],
    ["-1000", bytes.subarray(-1000)],
    ["12582900-", bytes.subarray(12582900)],
    ["0-", bytes],
  ])("-r %s", async (range, expected) => {
    const part = await curl(["--fail", "-r", range, `${files()}/${id}`]);
    expect([part.length, sha256(part)]).toEqual([expected.length, sha256(expected)]);
  });

  test("-C -: continues a download where it broke off", async () => {
    const partial = join(desk.path, "partial.bin");
    writeFileSync(partial, bytes.subarray(0, 7_654_321));
    const args = ["--fail", "-C", "-", "--write-out", "%{http_code} %{size_download}", "--output", partial];
    const output = await curl([...args, `${files()}/${id}`]);
    expect(output.toString()).toBe(`206 ${bytes.length - 7_654_321}`);
    expect(sha256(readFileSync(partial))).toBe(sha256(bytes));
  });

  test.each([
    ["a day ago", -1, "200"],
    ["a day from now", 1, "304"],
  ])("-z: modified since %s?", async (_, days, expected) => {
    const output = await curl([...status, "-z", dayFromNow(days), `${files()}/${id}`]);
    expect(output.toString()).toBe(expected);
  });
});

describe("a page in a browser", () => {
  const preflight = (origin: string, path: string, method: string, headers: string) =>
    fetch(server.url + path, {
      method: "OPTIONS",
      headers: {
        Origin: origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
      },
    });
  const TUS = "content-type,tus-resumable,upload-length,upload-metadata,upload-offset";

  test.each([
    ["/uploads", "POST", TUS],
    ["/uploads/any", "PATCH", `${TUS},upload-complete,upload-draft-interop-version`],
    ["/uploads/any", "DELETE", "tus-resumable,authorization"],
    ["/files/any", "PUT", "content-digest"],
  ])("of a configured site may request: %s, %s", async (path, method, headers) => {
    const response = await preflight(SITE, path, method, headers);
    expect(response.status).toBe(204);
    expect(response.headers.get("Access-Control-Allow-Origin")).toBe(SITE);
    expect(response.headers.get("Access-Control-Allow-Methods")?.split(/, ?/)).toContain(method);
    const allowed = response.headers.get("Access-Control-Allow-Headers")?.toLowerCase().split(/, ?/);
    expect(allowed).toEqual(expect.arrayContaining(headers.split(",")));
  });

  test("of any other site may not", async () => {
    const response = await preflight("https://evil.example.com", "/uploads", "POST", TUS);
    expect(response.headers.get("Access-Control-Allow-Origin")).toBeNull();
  });

  test("sends a form in which no file was chosen: that is not a file", async () => {
    const form = new FormData();
    form.set("photo", new File([], ""));
    form.set("note", "no photo");
    const response = await fetch(`${server.url}/files`, { method: "POST", body: form });
    expect([response.status, await response.json()]).toEqual([
      201,
      { files: [], fields: [{ name: "note", value: "no photo" }] },
    ]);
  });

  test("of a configured site uploads, and can read the URL", async () => {
    const headers = { Origin: SITE, "Tus-Resumable": "1.0.0", "Sec-Fetch-Site": "cross-site" };
    const created = await fetch(`${server.url}/uploads`, {
      method: "POST",
      headers: { ...headers, "Upload-Length": "5", "Content-Type": "application/offset+octet-stream" },
      body: "hello",
    });
    expect([created.status, created.headers.get("Access-Control-Allow-Origin")]).toEqual([201, SITE]);
    const readable = created.headers.get("Access-Control-Expose-Headers")?.split(/, ?/);
    expect(readable).toEqual(expect.arrayContaining(["Location", "Upload-Offset", "Tus-Resumable"]));
    await expectFile(basename(String(created.headers.get("Location"))), Buffer.from("hello"));
  });
});
