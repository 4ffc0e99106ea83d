import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { storedFileSchema } from "../../src/files/schema.ts";
import { PART_SIZE } from "../../src/files/store.ts";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../support/call.ts";
import { FORM_TYPE, filePart, formBody, streamedForm } from "../support/form.ts";
import worker from "../support/worker.ts";

const MIB = 1024 * 1024;

const upload = (body: BodyInit | null, options: CallOptions = {}) =>
  callForJson("/upload-file", { method: "POST", body, headers: { "Content-Type": FORM_TYPE }, ...options });

const uploadText = (text: string, disposition?: string) => upload(formBody([filePart(text, disposition)]));

async function download(url: unknown) {
  const { response } = await callWorker(new URL(String(url)).pathname);
  return { headers: response.headers, bytes: new Uint8Array(await response.arrayBuffer()) };
}

const stored = async () => (await env.FILES.list()).objects.map((object) => object.key);
const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

/** The bucket, with every multipart upload that is begun in it counted until it is completed or aborted. */
function watchedBucket(change: Partial<R2Bucket> = {}) {
  const seen = { open: 0, sending: 0, mostSending: 0 };
  const bucket = new Proxy(env.FILES, {
    get: (target, key) => {
      if (key in change) return Reflect.get(change, key);
      if (key !== "createMultipartUpload") return Reflect.get(target, key).bind(target);
      return async (name: string) => {
        const multipart = await target.createMultipartUpload(name);
        seen.open++;
        let isOpen = true;
        const close = () => {
          if (isOpen) seen.open--;
          isOpen = false;
        };
        return {
          key: multipart.key,
          uploadPart: async (n: number, part: Uint8Array) => {
            seen.mostSending = Math.max(seen.mostSending, ++seen.sending);
            return multipart.uploadPart(n, part).finally(() => seen.sending--);
          },
          complete: async (parts: R2UploadedPart[]) => multipart.complete(parts).finally(close),
          abort: async () => multipart.abort().finally(close),
        };
      };
    },
  });
  return { seen, variables: { FILES: bucket } };
}

beforeEach(async () => {
  await env.FILES.delete(await stored());
});

describe("an upload", () => {
  test("is answered with what was stored, and where it is", async () => {
    const { status, headers, body } = await uploadText("hello\r\nworld");
    expect(status).toBe(201);
    expect(storedFileSchema.parse(body)).toEqual(body);
    expect(body).toMatchObject({
      filename: "a.txt",
      size: 12,
      contentType: "text/plain",
      sha256: sha256("hello\r\nworld"),
    });
    expect(headers.get("Location")).toBe(body.url);
    expect(body.url).toBe(`http://localhost/files/${String(body.id)}`);
    expect(new TextDecoder().decode((await download(body.url)).bytes)).toBe("hello\r\nworld");
  });

  test("may come from a form of the platform's own making", async () => {
    const form = new FormData();
    form.set("comment", "a field beside the file is no matter");
    form.set("file", new File(["x".repeat(1000)], "x.bin"));
    const { status, body } = await upload(form, { headers: {} });
    expect([status, body.filename, body.size, body.contentType]).toEqual([
      201,
      "x.bin",
      1000,
      "application/octet-stream",
    ]);
  });

  test("of an empty file is an empty file", async () => {
    const { status, body } = await uploadText("");
    expect([status, body.size, body.sha256]).toEqual([201, 0, sha256("")]);
    const { headers, bytes } = await download(body.url);
    expect([headers.get("Content-Length"), bytes.length]).toEqual(["0", 0]);
  });

  test.each([PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, 2 * PART_SIZE + 1])(
    "of %i bytes comes back byte for byte",
    async (size) => {
      const bytes = new Uint8Array(size).map((_, i) => (i * 31) % 251);
      const form = new FormData();
      form.set("file", new File([bytes], "x.bin"));
      const { body } = await upload(form, { headers: {} });
      expect([body.size, body.sha256]).toEqual([size, sha256(bytes)]);
      expect(sha256((await download(body.url)).bytes)).toBe(sha256(bytes));
    },
  );

  test("of 64 MiB streams through", async () => {
    const chunk = crypto.getRandomValues(new Uint8Array(64 * 1024));
    const { status, body } = await upload(streamedForm(chunk, (64 * MIB) / chunk.length));
    const hash = createHash("sha256");
    for (let i = 0; i < 1024; i++) hash.update(chunk);
    expect([status, body.size]).toEqual([201, 64 * MIB]);
    expect(body.sha256).toBe(hash.digest("hex"));
    const { response } = await callWorker(new URL(String(body.url)).pathname);
    const digest = new crypto.DigestStream("SHA-256");
    await response.body?.pipeTo(digest);
    expect(Buffer.from(await digest.digest).toString("hex")).toBe(body.sha256);
  });

  test("takes from its sender no faster than it stores: little is read ahead", async () => {
    const chunk = new Uint8Array(64 * 1024);
    let handedOut = 0;
    const source = streamedForm(chunk, (32 * MIB) / chunk.length).pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>(
        {
          transform: (c, controller) => {
            handedOut += c.length;
            controller.enqueue(c);
          },
        },
        undefined,
        { highWaterMark: 0 },
      ),
    );
    let mostAhead = 0;
    let taken = 0;
    const { seen, variables } = watchedBucket();
    const bucket = new Proxy(variables.FILES, {
      get: (target, key) => {
        if (key !== "createMultipartUpload") return Reflect.get(target, key);
        return async (name: string) => {
          const multipart = await target.createMultipartUpload(name);
          const uploadPart = async (n: number, part: Uint8Array) => {
            await scheduler.wait(50); // slower than its sender, by far
            const sent = await multipart.uploadPart(n, part);
            mostAhead = Math.max(mostAhead, handedOut - taken);
            taken += part.length;
            return sent;
          };
          return { ...multipart, uploadPart };
        };
      },
    });
    const { status } = await upload(source, { variables: { FILES: bucket } });
    expect(status).toBe(201);
    expect(seen.mostSending).toBe(1);
    expect(mostAhead).toBeGreaterThan(PART_SIZE);
    expect(mostAhead).toBeLessThan(2 * PART_SIZE + MIB);
  });
});

describe("a form that is not as it should be is refused, and leaves nothing in R2", () => {
  const good = formBody([filePart("hello")]);
  const type = { "Content-Type": FORM_TYPE };

  test.each<[string, Record<string, string>, string | null, number]>([
    ["(a good one, to compare)", type, good, 201],
    ["no Content-Type", { "Content-Type": "" }, good, 415],
    ["another Content-Type", { "Content-Type": "application/json" }, "{}", 415],
    [
      "a Content-Type that only begins like it",
      { "Content-Type": "multipart/form-data-x; boundary=x" },
      good,
      415,
    ],
    ["no boundary", { "Content-Type": "multipart/form-data" }, good, 400],
    ["an empty boundary", { "Content-Type": "multipart/form-data; boundary=" }, good, 400],
    [
      "a boundary that is too long",
      { "Content-Type": `multipart/form-data; boundary=${"x".repeat(71)}` },
      good,
      400,
    ],
    [
      "a quoted boundary that is not closed",
      { "Content-Type": 'multipart/form-data; boundary="x' },
      good,
      400,
    ],
    ["a good boundary in quotes", { "Content-Type": FORM_TYPE.replace(/=(.*)/, '="$1"') }, good, 201],
    ["another boundary", { "Content-Type": "multipart/form-data; boundary=other" }, good, 400],
    ["no body", type, null, 400],
    ["an empty body", type, "", 400],
    ["a body that is no form", type, "hello", 400],
    ["a body cut inside the file", type, good.slice(0, good.indexOf("hello") + 3), 400],
    ["a body cut inside a header", type, good.slice(0, 60), 400],
    ["a body without its last boundary", type, formBody([filePart("hello")], ""), 400],
    ["a large file cut short", type, formBody([filePart("x".repeat(3 * PART_SIZE))], "").slice(0, -9), 400],
    ["no part at all", type, formBody([]), 422],
    ["no file, only fields", type, formBody([{ disposition: 'name="a"', body: "1" }]), 422],
    [
      "the file in another field",
      type,
      formBody([filePart("hello", 'name="document"; filename="a.txt"')]),
      422,
    ],
    ["the field, but as text", type, formBody([{ disposition: 'name="file"', body: "hello" }]), 422],
    ["an empty file name", type, formBody([filePart("", 'name="file"; filename=""')]), 422],
    [
      "no file name",
      type,
      formBody([{ disposition: 'name="file"', type: "application/octet-stream", body: "x" }]),
      422,
    ],
    [
      "a file name of 256 bytes",
      type,
      formBody([filePart("x", `name="file"; filename="${"é".repeat(128)}"`)]),
      422,
    ],
    ["two files", type, formBody([filePart("one"), filePart("two")]), 422],
    [
      "a large file, and then a second one",
      type,
      formBody([filePart("x".repeat(2 * PART_SIZE)), filePart("two")]),
      422,
    ],
    [
      "a good file, and then a broken end",
      type,
      formBody([filePart("hello"), filePart("x")], "").slice(0, -4),
      400,
    ],
    ["no name", type, formBody([filePart("hello", 'filename="a.txt"')]), 422],
    [
      "too many fields",
      type,
      formBody([...Array(101)].map(() => ({ disposition: 'name="a"', body: "1" }))),
      422,
    ],
    ["too many files", type, formBody([...Array(101)].map(() => filePart("x"))), 422],
    [
      "two boundaries, the first empty",
      { "Content-Type": "multipart/form-data; boundary=; boundary=x" },
      good,
      400,
    ],
    [
      "a boundary inside another parameter",
      { "Content-Type": 'multipart/form-data; a="b; boundary=x; c=d' },
      good,
      400,
    ],
  ])("%s", async (_name, headers, form, status) => {
    const { seen, variables } = watchedBucket();
    const answer = await upload(form, { headers, variables });
    expect([answer.status, seen.open]).toEqual([status, 0]);
    if (status === 201) return;
    expect(answer.headers.get("Content-Type")).toBe("application/problem+json");
    expect(answer.body.detail).toEqual(expect.any(String));
    expect(await stored()).toEqual([]);
  });

  test("when its sender breaks off", async () => {
    const chunk = new Uint8Array(MIB);
    let sent = 0;
    const source = streamedForm(chunk, 64).pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (c, controller) => {
          if ((sent += c.length) > 12 * MIB) throw new Error("the line went dead");
          controller.enqueue(c);
        },
      }),
    );
    const { seen, variables } = watchedBucket();
    const { status } = await upload(source, { variables });
    expect([status, seen.open]).toEqual([400, 0]);
    expect(await stored()).toEqual([]);
  });
});

test("an upload whose client goes away is kept alive until it is cleared away", async () => {
  const ctx = createExecutionContext();
  const waitUntil = vi.spyOn(ctx, "waitUntil");
  const dead = Promise.withResolvers<never>();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(formBody([filePart("half")], ""))),
    pull: () => dead.promise,
  });
  const headers = { "Content-Type": FORM_TYPE };
  const request = new Request<unknown, IncomingRequestCfProperties>("http://localhost/upload-file", {
    method: "POST",
    body,
    headers,
  });
  const answer = worker.fetch(request, env, ctx);
  await expect.poll(() => waitUntil.mock.calls.length).toBe(1);
  dead.reject(new Error("the line went dead"));
  expect((await answer).status).toBe(400);
  await waitOnExecutionContext(ctx);
});

describe("what the client says the file is", () => {
  test.each([
    ["text/plain", "text/plain"],
    ["image/svg+xml", "image/svg+xml"],
    ["text/html; charset=utf-8", "text/html"],
    ["text/\u0000html", "application/octet-stream"],
    ["text/\u0001html", "application/octet-stream"],
    ["text/é", "application/octet-stream"],
    ["nonsense", "application/octet-stream"],
    [`text/${"x".repeat(9000)}`, "application/octet-stream"],
  ])("%j is kept as %s, and can be downloaded", async (type, kept) => {
    const { status, body } = await upload(formBody([{ ...filePart("hello"), type }]));
    expect([status, body.contentType]).toEqual([201, kept]);
    expect((await download(body.url)).headers.get("Content-Type")).toBe(kept);
  });
});

test("a file name that is no Unicode is mended", async () => {
  const { status, body } = await uploadText("x", "name=\"file\"; filename*=utf-16le''%00%D8");
  expect([status, body.filename]).toEqual([201, "\ufffd"]);
  expect((await download(body.url)).headers.get("Content-Disposition")).toContain(
    "filename*=UTF-8''%EF%BF%BD",
  );
});

test.each(["put", "createMultipartUpload"] as const)(
  "when R2 fails at %s, the answer is a 500 and nothing is left",
  async (method) => {
    const away = async () => Promise.reject(new Error("R2 is away"));
    const { seen, variables } = watchedBucket({ [method]: away });
    const form = formBody([filePart("x".repeat(2 * PART_SIZE))]);
    const { value, lines } = await captureLogs(async () => upload(form, { variables }));
    expect([value.status, seen.open]).toEqual([500, 0]);
    expect(lines.map((line) => line.message)).toEqual([
      "upload abandoned, and nothing of it kept",
      "unhandled error",
    ]);
    expect(value.body.detail).not.toContain("R2");
    expect(await stored()).toEqual([]);
  },
);

test("when the record was written although its put failed, it is taken back", async () => {
  const put: R2Bucket["put"] = async (...args: Parameters<R2Bucket["put"]>) => {
    await env.FILES.put(...args);
    throw new Error("the answer was lost");
  };
  const { value } = await captureLogs(async () =>
    upload(formBody([filePart("x")]), { variables: watchedBucket({ put }).variables }),
  );
  expect(value.status).toBe(500);
  expect(await stored()).toEqual([]);
});

describe("a download", () => {
  test("cannot run as a page of this origin, whatever it says it is", async () => {
    const part = {
      disposition: 'name="file"; filename="evil.html"',
      type: "text/html",
      body: "<script>alert(1)</script>",
    };
    const { body } = await upload(formBody([part]));
    const { headers } = await download(body.url);
    expect(headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(headers.get("Content-Security-Policy")).toBe("default-src 'none'; sandbox");
    expect(headers.get("Content-Disposition")).toBe("attachment; filename=evil.html");
  });

  test.each([
    ["naïve 😀.pdf", "naïve 😀.pdf", "filename*=UTF-8''na%C3%AFve%20%F0%9F%98%80.pdf"],
    ["../../etc/passwd", "passwd", "filename=passwd"],
    ["C:\\\\temp\\\\report.doc", "report.doc", "filename=report.doc"],
    ["مرحبا.txt", "مرحبا.txt", "filename*=UTF-8''%D9%85"],
    ["a%0d%0aSet-Cookie: x.txt", "a%0d%0aSet-Cookie: x.txt", "filename*=UTF-8''a%250d%250aSet"],
  ])("is saved under the name it was sent with: %s", async (sent, kept, header) => {
    const { body } = await uploadText("x", `name="file"; filename="${sent}"`);
    expect(body.filename).toBe(kept);
    expect((await download(body.url)).headers.get("Content-Disposition")).toContain(header);
    expect(await stored()).toEqual([`files/${String(body.id)}`]);
  });

  test("HEAD tells the same without the bytes", async () => {
    const { body } = await uploadText("hello");
    const { response } = await callWorker(new URL(String(body.url)).pathname, { method: "HEAD" });
    expect([response.status, response.headers.get("Content-Length"), await response.text()]).toEqual([
      200,
      "5",
      "",
    ]);
  });

  test.each(["none", "..%2Fblobs%2Fx", "x".repeat(129)])("of %s is refused", async (id) => {
    const { status } = await callForJson(`/files/${id}`);
    expect(status).toBe(id.length > 128 ? 422 : 404);
  });
});
