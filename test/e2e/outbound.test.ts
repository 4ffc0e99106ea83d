/**
 * What passes through `/fetch`, byte for byte, over real HTTP: an upstream that writes its responses itself, and a
 * client that reads them without decoding anything.
 */
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Server, startOnMiniflare } from "../support/node/built-worker.ts";

const TEXT = Buffer.from("hello world ".repeat(20_000));
const CODED = {
  gzip: gzipSync(TEXT),
  br: brotliCompressSync(TEXT),
  zstd: zstdCompressSync(TEXT),
  identity: TEXT,
};
type Coding = keyof typeof CODED;

let calls = 0;
let lastSeen: IncomingMessage | undefined;

/** `/{coding}?type=…&cache=…` responds with the text in that coding, and to Range with a part of its coded bytes. */
const upstream = createServer((request, response) => {
  calls++;
  lastSeen = request;
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://upstream");
  if (request.method === "POST") {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => response.setHeader("Content-Type", "text/plain").end(Buffer.concat(chunks)));
    return;
  }
  const coding = pathname.split("/")[1] as Coding;
  const bytes = CODED[coding];
  response.setHeader("Content-Type", searchParams.get("type") ?? "application/octet-stream");
  response.setHeader("ETag", '"1"').setHeader("Accept-Ranges", "bytes");
  const cache = searchParams.get("cache");
  if (cache) response.setHeader("Cache-Control", cache);
  if (coding !== "identity") response.setHeader("Content-Encoding", coding);
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const part = first === undefined ? bytes : bytes.subarray(Number(first), Number(last) + 1);
  if (first !== undefined) response.setHeader("Content-Range", `bytes ${first}-${last}/${bytes.length}`);
  response.writeHead(first === undefined ? 200 : 206, { "Content-Length": part.length });
  response.end(request.method === "HEAD" ? undefined : part);
});

let server: Server;

beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const { port } = upstream.address() as AddressInfo;
  const api = { origin: `http://127.0.0.1:${port}`, methods: ["GET", "HEAD", "POST"] };
  server = await startOnMiniflare({ UPSTREAMS: { demo: { entrypoint: "DemoUpstream" }, api } });
});
afterAll(async () => {
  upstream.close();
});

interface Got {
  status: number;
  headers: IncomingMessage["headers"];
  bytes: Buffer;
}

/** A request as raw as Node can send one: nothing is added, and nothing decoded. */
async function send(
  path: string,
  headers: Record<string, string>,
  method = "GET",
  body?: Buffer,
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${server.url}/fetch/api${path}`, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          bytes: Buffer.concat(chunks),
        }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

let paths = 0;

describe("coded bytes pass as they are, and the same when they come from the cache:", () => {
  const types = ["application/octet-stream", "text/plain", "application/json"];
  const caches = ["", "max-age=60", "max-age=60, no-transform"];
  const codings: Coding[] = ["gzip", "br", "identity"];
  const table = codings.flatMap((coding) =>
    types.flatMap((type) => caches.map((cache) => [coding, type, cache] as const)),
  );

  test.each(table)("%s of %s with Cache-Control: %s", async (coding, type, cache) => {
    const path = `/${coding}/${paths++}?type=${type}&cache=${cache}`;
    const headers = { "Accept-Encoding": coding };
    const before = calls;
    for (let i = 0; i < 3; i++) {
      const got = await send(path, headers);
      expect([got.status, got.headers["content-encoding"] ?? "identity", got.headers.etag]).toEqual([
        200,
        coding,
        '"1"',
      ]);
      expect(got.bytes.equals(CODED[coding])).toBe(true);
    }
    expect(calls - before).toBe(cache === "" ? 3 : 1);
    const head = await send(path, headers, "HEAD");
    expect([head.status, head.headers["content-encoding"] ?? "identity", head.bytes.length]).toEqual([
      200,
      coding,
      0,
    ]);
    const range = await send(path, { ...headers, Range: "bytes=5-14" });
    expect([range.status, range.headers["content-range"]]).toEqual([
      206,
      `bytes 5-14/${CODED[coding].length}`,
    ]);
    expect(range.bytes.equals(CODED[coding].subarray(5, 15))).toBe(true);
  });

  test("a coding that neither the runtime nor Sluice knows", async () => {
    const got = await send("/zstd", { "Accept-Encoding": "zstd, gzip" });
    expect(got.bytes.equals(CODED.zstd)).toBe(true);
  });
});

describe("the upstream is asked for codings that the client takes:", () => {
  test.each([
    [undefined, "identity"],
    ["identity", "identity"],
    ["gzip", "gzip"],
    ["gzip, deflate, br, zstd", "br, gzip"],
    ["br;q=0, gzip;q=0.5", "gzip"],
  ])("%s: %s", async (accepted, expected) => {
    await send(`/identity/${paths++}`, accepted === undefined ? {} : { "Accept-Encoding": accepted });
    expect(lastSeen?.headers["accept-encoding"]).toBe(expected);
  });

  test("clients that take different codings do not share what is stored", async () => {
    const path = `/gzip/${paths++}?cache=max-age=60`;
    const before = calls;
    for (const headers of [{ "Accept-Encoding": "gzip" }, {}, { "Accept-Encoding": "gzip;q=1" }])
      await send(path, headers);
    expect(calls - before).toBe(2);
  });
});

test("a coded request body arrives as it was sent", async () => {
  const headers = { "Content-Encoding": "gzip", "Content-Type": "text/plain" };
  const got = await send("/", headers, "POST", CODED.gzip);
  expect(got.bytes.equals(CODED.gzip)).toBe(true);
  expect(lastSeen?.headers["content-encoding"]).toBe("gzip");
});

test("headers that name another method, path, host or client do not arrive", async () => {
  const names = [
    "X-HTTP-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Cluster-Client-IP",
    "X-Forwarded-For",
  ];
  await send(`/identity/${paths++}`, Object.fromEntries(names.map((name) => [name, "evil"])));
  expect(JSON.stringify(lastSeen?.rawHeaders)).not.toContain("evil");
});

test("GET /data is decoded", async () => {
  const response = await fetch(`${server.url}/data`, { headers: { "Accept-Encoding": "gzip" } });
  expect(await response.json()).toMatchObject({ id: 1 });
});
