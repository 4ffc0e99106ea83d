/** Which headers travel to an upstream, and which come back to the caller. */
import { describe, expect, test } from "vitest";
import {
  hasPassed,
  retryAfterMs,
  toCaller as toCallerOf,
  toUpstream,
} from "../../../src/outbound/client/headers.ts";
import { parseUpstream } from "../../support/upstreams.ts";

const plain = parseUpstream({ origin: "https://api.example.com" });
const custom = parseUpstream({
  origin: "https://api.example.com",
  request_headers: ["X-Custom", "x-list", "X-Hop", "X-Other-Hop", "X-End", "X-Other"],
  response_headers: ["X-Hop", "x-end", "X-Custom"],
});
const SENDER = { isCode: false, requestId: "request-1", via: "me", acceptEncoding: "br, gzip" };
const sent = (received: HeadersInit, to = custom, isCode = false) =>
  toUpstream(new Headers(received), to, { ...SENDER, isCode });
const toCaller = (received: Headers, from = custom) => toCallerOf(received, from);

describe("to the upstream", () => {
  test.each([
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Authorization",
    "Cookie",
    "Host",
    "Origin",
    "Referer",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Ray",
    "CF-Access-Jwt-Assertion",
    "CDN-Loop",
    "Sec-Fetch-Site",
    "Sec-WebSocket-Key",
    "Content-Length",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Host",
    "X-Cluster-Client-IP",
    "X-Client-IP",
    "Client-IP",
    "Fastly-Client-IP",
    "X-Originating-IP",
    "X-Remote-User",
    "X-Envoy-Original-Path",
    "X-ProxyUser-IP",
    "Content-Location",
    "Destination",
    "If",
    "SOAPAction",
    "X-Api-Key",
    "X-Auth-Token",
    "DPoP",
    "Cookie2",
    "Access-Control-Request-Method",
    "X-Unheard-Of",
    "CFX",
    "Secret",
  ])("%s does not travel", (name) => {
    for (const to of [plain, custom]) expect(sent({ [name]: "x" }, to).get(name)).toBeNull();
    expect(sent({ [name]: "x", "X-Other": "y" }).get("X-Other")).toBe("y");
  });

  test.each([
    "Accept",
    "Accept-Language",
    "Content-Type",
    "Content-Encoding",
    "Content-Digest",
    "Range",
    "If-None-Match",
    "If-Match",
    "If-Range",
    "Prefer",
    "Idempotency-Key",
    "Last-Event-ID",
    "Cache-Control",
    "User-Agent",
    "Traceparent",
  ])("%s travels", (name) => {
    expect(sent({ [name]: "x" }, plain).get(name)).toBe("x");
  });

  test("another header travels to an upstream that lists it, in any case", () => {
    for (const name of ["X-Custom", "x-custom", "X-List"]) expect(sent({ [name]: "x" }).get(name)).toBe("x");
    expect(sent({ "X-Custom": "x" }, plain).get("X-Custom")).toBeNull();
  });

  test("what code sends travels, except what names another method, path, host or client", () => {
    const headers = sent(
      { "Webhook-Id": "1", "X-Any": "2", "X-Original-URL": "/admin", Cookie: "a=b" },
      plain,
      true,
    );
    expect(["Webhook-Id", "X-Any", "X-Original-URL", "Cookie"].map((name) => headers.get(name))).toEqual([
      "1",
      "2",
      null,
      null,
    ]);
  });

  test("headers that Connection names do not travel", () => {
    const headers = sent({
      Connection: "close, X-Hop,  x-other-hop",
      "X-Hop": "1",
      "X-Other-Hop": "2",
      "X-End": "3",
    });
    expect([headers.get("X-Hop"), headers.get("X-Other-Hop"), headers.get("X-End")]).toEqual([
      null,
      null,
      "3",
    ]);
  });

  test("a repeated header keeps all its values", () => {
    const headers = sent([
      ["X-List", "a"],
      ["X-List", "b"],
    ]);
    expect(headers.get("X-List")).toBe("a, b");
  });

  test("only Via, User-Agent, Accept-Encoding and the request id are added", () => {
    expect([...sent({})]).toEqual([
      ["accept-encoding", "br, gzip"],
      ["user-agent", "sluice"],
      ["via", "1.1 me"],
      ["x-request-id", "request-1"],
    ]);
  });

  test("the request id is this request's, not the caller's header", () => {
    expect(sent({ "X-Request-Id": "spoofed" }).get("X-Request-Id")).toBe("request-1");
  });

  describe("configured headers", () => {
    const keyed = parseUpstream(
      {
        origin: "https://api.example.com",
        headers: { Authorization: "Bearer ${KEY}", "X-Api-Version": "2" },
      },
      { KEY: "secret-1" },
    );

    test("are set, with their secrets", () => {
      const headers = sent({}, keyed);
      expect([headers.get("Authorization"), headers.get("X-Api-Version")]).toEqual(["Bearer secret-1", "2"]);
    });

    test("override the caller's, in any case, and Connection", () => {
      const headers = sent(
        { AUTHORIZATION: "Bearer mine", "x-api-version": "1", Connection: "x-api-version" },
        keyed,
      );
      expect([headers.get("Authorization"), headers.get("X-Api-Version")]).toEqual(["Bearer secret-1", "2"]);
    });
  });

  test("Via is appended to", () => {
    expect(sent({ Via: "1.0 fred, 1.1 p.example.net (Apache)" }).get("Via")).toBe(
      "1.0 fred, 1.1 p.example.net (Apache), 1.1 me",
    );
  });
});

describe("a call that has passed through here before is recognised", () => {
  test.each<[string | undefined, boolean]>([
    [undefined, false],
    ["1.1 other", false],
    ["1.1 me-too", false],
    ["1.1 not-me", false],
    ["me 1.1", false],
    ["1.1 other (me)", false],
    ["1.1 me", true],
    ["1.1 me, 1.1 other", true],
    ["1.0 fred,1.1 me,1.1 other", true],
    ["HTTP/2  me (comment)", true],
  ])("with Via: %s: %s", (via, expected) => {
    expect(hasPassed(new Headers(via === undefined ? {} : { via }), "me")).toBe(expected);
  });
});

describe("to the caller", () => {
  test.each([
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Set-Cookie",
    "Clear-Site-Data",
    "Strict-Transport-Security",
    "Alt-Svc",
    "NEL",
    "Report-To",
    "WWW-Authenticate",
    "Refresh",
    "Access-Control-Allow-Origin",
    "Server-Timing",
    "X-Request-Id",
    "X-Sendfile",
    "X-Accel-Redirect",
    "Speculation-Rules",
    "CDN-Cache-Control",
    "Cloudflare-CDN-Cache-Control",
    "Surrogate-Control",
    "Cache-Tag",
    "Permissions-Policy",
    "Referrer-Policy",
    "Cross-Origin-Resource-Policy",
    "Cross-Origin-Opener-Policy",
    "Origin-Agent-Cluster",
    "Service-Worker-Allowed",
    "Timing-Allow-Origin",
    "X-Frame-Options",
    "SourceMap",
    "X-Unheard-Of",
  ])("%s does not travel: from here it would be Sluice's own", (name) => {
    expect(toCaller(new Headers({ [name]: "x" })).get(name)).toBeNull();
  });

  test.each([
    "Content-Type",
    "Content-Length",
    "Content-Range",
    "Content-Disposition",
    "Cache-Control",
    "ETag",
    "Last-Modified",
    "Link",
    "Location",
    "Retry-After",
    "Vary",
    "X-RateLimit-Remaining",
    "X-Rate-Limit-Reset",
    "RateLimit-Policy",
    "RateLimit-Limit",
    "Deprecation",
    "Date",
    "Age",
  ])("%s travels", (name) => {
    const value = name === "Content-Length" ? "10" : "x";
    expect(toCaller(new Headers({ [name]: value }), plain).get(name)).toBe(value);
  });

  test("another header travels from an upstream that lists it, in any case", () => {
    expect(toCaller(new Headers({ "x-custom": "x" })).get("X-Custom")).toBe("x");
    expect(toCaller(new Headers({ "X-Custom": "x" }), plain).get("X-Custom")).toBeNull();
  });

  test.each([
    ["5, 5", "5"],
    ["5, 6", null],
    ["five", null],
  ])("a Content-Length of %s is %s", (length, expected) => {
    expect(toCaller(new Headers({ "Content-Length": length })).get("Content-Length")).toBe(expected);
  });

  test("a coded response keeps its coding and its length", () => {
    const headers = toCaller(new Headers({ "Content-Encoding": "gzip", "Content-Length": "52" }));
    expect([headers.get("Content-Encoding"), headers.get("Content-Length")]).toEqual(["gzip", "52"]);
  });

  test.each([
    ["audio/wav", "media-src 'self'"],
    ["video/mp4; codecs=avc1", "media-src 'self'"],
    ["Audio/X-WAV", "media-src 'self'"],
    ["text/html", "default-src 'none'; sandbox"],
    ["image/svg+xml", "default-src 'none'; sandbox"],
    ["text/html; x=audio/wav", "default-src 'none'; sandbox"],
    ["audio/wav, text/html", "default-src 'none'; sandbox"],
    ["audio/", "default-src 'none'; sandbox"],
  ])("%s has a policy with %s, and runs no script", (type, policy) => {
    const sentPolicy = toCaller(new Headers({ "Content-Type": type })).get("Content-Security-Policy");
    expect(sentPolicy).toContain(policy);
    expect(sentPolicy).toMatch(/^default-src 'none';.* sandbox( allow-same-origin)?$/);
    expect(sentPolicy).not.toContain("script");
  });

  test("no cookie gets through, however many there are", () => {
    const received = new Headers([
      ["Set-Cookie", "a=1"],
      ["Set-Cookie", "b=2"],
    ]);
    expect(toCaller(received).getSetCookie()).toEqual([]);
  });

  test("headers that Connection names do not travel", () => {
    const headers = toCaller(new Headers({ Connection: "X-Hop", "X-Hop": "1", "X-End": "2" }));
    expect([headers.get("X-Hop"), headers.get("X-End")]).toEqual([null, "2"]);
  });

  test("a page of the upstream cannot run in Sluice's origin, whatever its own policy is", () => {
    const headers = toCaller(
      new Headers({
        "Content-Type": "text/html",
        "Content-Security-Policy": "script-src *",
        "X-Content-Type-Options": "none",
      }),
    );
    expect(headers.get("Content-Security-Policy")).toBe("default-src 'none'; sandbox");
    expect(headers.get("X-Content-Type-Options")).toBe("nosniff");
  });
});

describe("Retry-After", () => {
  const nowMs = Date.parse("2026-11-01T12:00:00Z");
  test.each<[string | undefined, number | undefined]>([
    ["0", 0],
    ["1", 1000],
    [" 120 ", 120_000],
    ["Sun, 01 Nov 2026 12:00:30 GMT", 30_000],
    ["Sun, 01 Nov 2026 11:59:00 GMT", 0],
    ["Sunday, 01-Nov-26 12:00:30 GMT", 30_000],
    ["Sun Nov  1 12:00:30 2026", 30_000],
    ["Sun Nov  1 11:59:00 2026", 0],
    ["Sun Nov  1 12:00:30 2026 GMT", undefined],
    ["Sun, 01 Nov 2026 12:00:30 +0000", undefined],
    ["120, 120", undefined],
    ["Sunday, 01-Nov-26 12:00:30 GMT", 30_000],
    ["Sun Nov  1 12:00:30 2026", 30_000],
    [undefined, undefined],
    ["", undefined],
    ["-1", undefined],
    ["+1", undefined],
    ["1.5", undefined],
    ["1e3", undefined],
    ["0x10", undefined],
    ["120 s", undefined],
    ["soon", undefined],
    ["GMT", undefined],
    ["2026-11-01", undefined],
    ["2027", 2_027_000],
  ])("%s is %s ms", (text, expected) => {
    expect(retryAfterMs(new Headers(text === undefined ? {} : { "Retry-After": text }), nowMs)).toBe(
      expected,
    );
  });
});
