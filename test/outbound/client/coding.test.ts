/** Content codings: which are asked for, and what code of this Worker reads. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { acceptedBy, decoded, normalizeAccepted } from "../../../src/outbound/client/coding.ts";
import { fetchUpstream } from "../../../src/outbound/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { parseUpstream } from "../../support/upstreams.ts";

const text = "hello world ".repeat(200);
const CODERS = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync };
type Coding = keyof typeof CODERS;
const CODINGS = Object.keys(CODERS) as Coding[];

/** A response of an upstream, with a coded body. */
function coded(
  coding: Coding,
  bytes: Uint8Array = CODERS[coding](text),
  init: { status?: number; headers?: Record<string, string> } = {},
): Response {
  const headers = {
    "Content-Encoding": coding,
    ETag: '"1"',
    "Content-Digest": "sha-256=:x:",
    ...init.headers,
  };
  return new Response(bytes, { ...init, headers, encodeBody: "manual" });
}

test.each([
  ["gzip", "gzip"],
  ["gzip, deflate, br, zstd", "br, gzip"],
  ["br;q=0.1 , GZIP;q=1", "br, gzip"],
  ["br;q=0, gzip;q=0.000", "identity"],
  ["*", "br, gzip"],
  ["*;q=0", "identity"],
  ["gzip, *;q=0", "gzip"],
  ["br;q=0, *", "gzip"],
  ["", "identity"],
  ["identity", "identity"],
  ["x-gzip", "identity"],
  ["gzip;q=0.001", "gzip"],
  ["gzip;level=9", "gzip"],
])("Accept-Encoding: %s asks for %s", (header, expected) => {
  expect(normalizeAccepted(header)).toBe(expected);
});

describe("the client's own Accept-Encoding", () => {
  const of = (headers: HeadersInit, cf?: IncomingRequestCfProperties) =>
    acceptedBy(new Request("http://localhost/", { headers, ...(cf && { cf }) }));

  test("is the header, if no edge has replaced it", () => {
    expect([of({ "Accept-Encoding": "br" }), of({}), of({ "Accept-Encoding": " " })]).toEqual([
      "br",
      "identity",
      "identity",
    ]);
  });

  test("is what the edge says that it was", () => {
    const edge = (clientAcceptEncoding: string) => ({ clientAcceptEncoding }) as IncomingRequestCfProperties;
    const headers = { "Accept-Encoding": "gzip, br" };
    expect([of(headers, edge("zstd")), of(headers, edge(""))]).toEqual(["zstd", "identity"]);
  });
});

describe("decoded", () => {
  const upstream = parseUpstream({ origin: "https://api.example.com", max_response_bytes: 5000 });

  test.each(CODINGS)("a response in %s is what it was, and its head fits", async (coding) => {
    const response = decoded(coded(coding, undefined, { headers: { "Content-Length": "9" } }), upstream);
    const names = ["Content-Encoding", "Content-Length", "Content-Digest", "ETag"];
    expect(names.map((name) => response.headers.get(name))).toEqual([null, null, null, 'W/"1"']);
    expect(await response.text()).toBe(text);
  });

  test.each(CODINGS)("a response in %s that is cut off fails", async (coding) => {
    const bytes = CODERS[coding](crypto.getRandomValues(new Uint8Array(1000))).subarray(0, 500);
    await expect(decoded(coded(coding, bytes), upstream).text()).rejects.toThrow();
  });

  test("a small response that becomes a long one breaks off", async () => {
    const bomb = gzipSync(new Uint8Array(5001));
    await expect(decoded(coded("gzip", bomb), upstream).text()).rejects.toMatchObject({
      kind: "response-too-large",
    });
    const most = gzipSync(new Uint8Array(5000));
    expect((await decoded(coded("gzip", most), upstream).bytes()).length).toBe(5000);
  });

  test.each<[string, () => Response]>([
    ["no coding", () => new Response("x")],
    ["a coding that nobody knows", () => new Response("x", { headers: { "Content-Encoding": "zstd" } })],
    ["a part of a coded whole", () => coded("gzip", undefined, { status: 206 })],
    ["a coding and no body", () => new Response(null, { headers: { "Content-Encoding": "gzip" } })],
  ])("a response with %s stays as it is", (_name, make) => {
    const response = make();
    expect(decoded(response, upstream)).toBe(response);
  });
});

describe("through the front door", () => {
  keepQuiet();
  expectRuntimeErrors("broke off");

  test.each(CODINGS)("%s passes byte for byte, with its length", async (coding) => {
    const bytes = CODERS[coding](text);
    resetUpstream(() => coded(coding, bytes));
    const { response, settled } = await callWorker("/fetch/proxy-any/x", {
      headers: { "Accept-Encoding": coding },
    });
    expect(response.headers.get("Content-Encoding")).toBe(coding);
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    await settled();
  });

  test("a range of coded bytes passes byte for byte", async () => {
    const bytes = gzipSync(text).subarray(5, 15);
    resetUpstream(() => coded("gzip", bytes, { status: 206, headers: { "Content-Range": "bytes 5-14/52" } }));
    const { response, settled } = await callWorker("/fetch/proxy-any/x", {
      headers: { Range: "bytes=5-14" },
    });
    expect([response.status, response.headers.get("Content-Range")]).toEqual([206, "bytes 5-14/52"]);
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    await settled();
  });

  test.each(CODINGS)("GET /data reads JSON in %s", async (coding) => {
    resetUpstream(() => coded(coding, CODERS[coding]('{"id":1}')));
    const { status, headers, body } = await callForJson("/data");
    expect([status, body, headers.get("Content-Encoding")]).toEqual([200, { id: 1 }, null]);
  });

  test.each(CODINGS)("code reads %s, also from the cache", async (coding) => {
    const headers = { "Cache-Control": "max-age=60" };
    resetUpstream(() => coded(coding, CODERS[coding]('{"id":1}'), { headers }));
    for (const status of ["fwd=uri-miss; stored", "hit"]) {
      const executionCtx = createExecutionContext();
      const context = { env, executionCtx, requestId: "cron-1" };
      const response = await fetchUpstream(context, "cache-default", `/coded/${coding}`);
      expect(await response.json()).toEqual({ id: 1 });
      expect(response.headers.get("Cache-Status")).toBe(`sluice; ${status}`);
      await waitOnExecutionContext(executionCtx);
    }
  });
});
